import { showName } from "./errors.ts";
import type { LayerReport, Tally } from "./unpacker.ts";

/** What an operator should know of a layer that was unpacked; nothing when there is nothing to say. */
export function describeReport({ skippedDevices, droppedXattrs }: LayerReport): readonly string[] {
  return [
    ...describe(
      skippedDevices,
      "device nodes were not created; containers get their /dev from the agent",
    ),
    ...describe(
      droppedXattrs,
      "extended attributes were left out; images may set `user.*` and `security.capability`",
    ),
  ];
}

function describe({ count, names }: Tally, text: string): readonly string[] {
  if (count === 0) return [];
  const more = count > names.length ? ", …" : "";
  return [`${count} ${text}: ${names.map(showName).join(", ")}${more}`];
}
