import { CliError } from "../errors.ts";

/** What is wrong with a bundle. */
export function invalidBundle(bundle: string, why: string, cause?: unknown): CliError {
  return new CliError("LAYOUT_INVALID", `${bundle} cannot be used: ${why}`, {
    ...(cause === undefined ? {} : { cause }),
    hint: "copy or create it again, and compare its checksum with that of the original",
  });
}
