import { readOptionalFile, replaceFileDurably } from "./durable-file.ts";

/** Names this agent for as long as its data folder lives: to the controller, so that a node that joins again is known,
 * and on the host, where several agents may share one kernel. `makeId` is asked once, at the very first start. */
export async function readOrMakeMachineId(path: string, makeId: () => string): Promise<string> {
  const known = readOptionalFile(path)?.trim();
  if (known !== undefined && /^[a-z0-9]{8,32}$/.test(known)) return known;
  const fresh = makeId();
  await replaceFileDurably(path, `${fresh}\n`);
  return fresh;
}
