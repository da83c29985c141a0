import { existsSync, readFileSync, realpathSync, statSync } from "node:fs";
import { dirname, join } from "node:path";

/** A whole disk, as the files of control groups name it. */
export type Disk = {
  /** `MAJOR:MINOR`. */
  readonly number: string;
  /** Whether its scheduler is BFQ, the one that shares it by weight. */
  readonly usesBfq: () => boolean;
};

/** The disk under a folder: limits are the whole disk's, never a partition's. Undefined where there is none, as under
 * tmpfs or a network's file system. */
export function findDisk(folder: string): Disk | undefined {
  const device = findDevice(folder);
  const node = device === undefined ? undefined : resolveNode(device);
  if (node === undefined) return undefined;
  const disk = existsSync(join(node, "partition")) ? dirname(node) : node;
  const number = readOptional(join(disk, "dev")).trim();
  if (number === "") return undefined;
  return {
    number,
    usesBfq: () => readOptional(join(disk, "queue/scheduler")).includes("[bfq]"),
  };
}

/** The number of the block device, by the folder itself or, where its file system has a number of its own (btrfs,
 * overlay), by what is mounted there. */
function findDevice(folder: string): string | undefined {
  const own = formatDevice(statSync(folder).dev);
  if (!own.startsWith("0:")) return own;
  const source = findMountSource(
    readFileSync("/proc/self/mountinfo", "utf8"),
    realpathSync(folder),
  );
  if (source === undefined || !existsSync(source)) return undefined;
  const { rdev } = statSync(source);
  return rdev === 0 ? undefined : formatDevice(rdev);
}

/** What is mounted where `folder` is, when that is a device; proc_pid_mountinfo(5). Pure. */
export function findMountSource(mountinfo: string, folder: string): string | undefined {
  let found: { readonly point: string; readonly source: string } | undefined;
  for (const line of mountinfo.split("\n")) {
    const [before = "", after = ""] = line.split(" - ");
    const point = before.split(" ")[4];
    const source = after.split(" ")[1] ?? "";
    if (point === undefined) continue;
    const holds = point === "/" || folder === point || folder.startsWith(`${point}/`);
    // A later mount at the same place hides the earlier one.
    if (holds && point.length >= (found?.point.length ?? 0)) found = { point, source };
  }
  return found?.source.startsWith("/dev/") === true ? found.source : undefined;
}

/** As glibc's gnu_dev_major and gnu_dev_minor take a number apart. Pure. */
export function formatDevice(dev: number): string {
  const bits = BigInt(dev);
  const major = ((bits >> 8n) & 0xfffn) | ((bits >> 32n) & 0xfffff000n);
  const minor = (bits & 0xffn) | ((bits >> 12n) & 0xffffff00n);
  return `${major}:${minor}`;
}

function resolveNode(device: string): string | undefined {
  const link = `/sys/dev/block/${device}`;
  return existsSync(link) ? realpathSync(link) : undefined;
}

function readOptional(path: string): string {
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}
