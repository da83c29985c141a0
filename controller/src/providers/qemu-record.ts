/** What is kept of a VM in its folder: who it belongs to. Written once, in one step, and deleted last. */
import { link, readdir, readFile, rm, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { getErrorCode } from "@strata/protocol/errors";
import { z } from "zod";

import { ProviderError } from "./errors.ts";
import { filesOf } from "./qemu-command.ts";

const QemuRecord = z.object({
  controllerId: z.string(),
  clientToken: z.string(),
  partition: z.string(),
  labels: z.record(z.string(), z.string()),
});
export type QemuRecord = z.infer<typeof QemuRecord>;

/** Undefined when there is no such VM.
 * @throws ProviderError PROVIDER_FAILED when the record is damaged */
export async function readRecord(folder: string): Promise<QemuRecord | undefined> {
  const file = filesOf(folder).record;
  try {
    return QemuRecord.parse(JSON.parse(await readFile(file, "utf8")));
  } catch (cause) {
    if (getErrorCode(cause) === "ENOENT") return undefined;
    throw new ProviderError("PROVIDER_FAILED", `${file} cannot be read`, {
      cause,
      hint: "end its QEMU, if one runs, and delete the folder",
    });
  }
}

/** Takes the folder for this VM, unless somebody has it: then that one is given back. */
export async function claimRecord(folder: string, record: QemuRecord): Promise<QemuRecord> {
  const file = filesOf(folder).record;
  const draft = `${file}.${record.controllerId}`;
  await writeFile(draft, JSON.stringify(record), { mode: 0o600 });
  try {
    // A link never replaces what is there, and is there whole or not at all.
    await link(draft, file);
  } catch (error) {
    if (getErrorCode(error) !== "EEXIST") throw error;
  } finally {
    await rm(draft, { force: true });
  }
  return (await readRecord(folder)) ?? record;
}

/** The record goes last, so that a deletion that was cut off is seen and done again. */
export async function deleteFolder(folder: string): Promise<void> {
  const { record } = filesOf(folder);
  for (const name of await readdir(folder)) {
    const file = join(folder, name);
    if (file !== record) await rm(file, { force: true });
  }
  await rm(record, { force: true });
  await rmdir(folder);
}
