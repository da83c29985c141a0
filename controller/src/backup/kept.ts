/** The folder of scheduled backups: how its files are called, when the next is due, and which go. Pure. */

/** `strata-20261122T192030Z.tar.zst`, with `.age` when it is encrypted. */
const NAME = /^strata-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z\.tar\.zst(\.age)?$/;
/** While one is being written, and what a crash left of one. */
export const PARTIAL = ".part";

export function nameBackup(nowMs: number, { encrypted }: { readonly encrypted: boolean }): string {
  const at = new Date(nowMs).toISOString().replace(/\.\d+/, "").replaceAll(/[-:]/g, "");
  return `strata-${at}.tar.zst${encrypted ? ".age" : ""}`;
}

/** Of a file that is a backup; undefined for any other. */
export function timeOfBackup(name: string): number | undefined {
  const [, year, month, day, hour, minute, second] = NAME.exec(name) ?? [];
  if (second === undefined) return undefined;
  return Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
}

/** The backups among files, newest first. */
export function sortBackups(names: readonly string[]): readonly string[] {
  return names
    .filter((name) => timeOfBackup(name) !== undefined)
    .toSorted()
    .toReversed();
}

/** Milliseconds until the next one is due: at once when there is none, or when the newest is from the future, which a
 * clock that was put back explains. */
export function untilDue(
  names: readonly string[],
  { nowMs, everyMs }: { readonly nowMs: number; readonly everyMs: number },
): number {
  const [newest = ""] = sortBackups(names);
  const at = timeOfBackup(newest);
  return at === undefined || at > nowMs ? 0 : Math.max(0, at + everyMs - nowMs);
}

/** Those that are more than `keep`, the oldest. */
export function surplus(names: readonly string[], keep: number): readonly string[] {
  return sortBackups(names).slice(keep);
}
