import { readFileSync } from "node:fs";

/** Where the kernel's cgroup hierarchies are mounted. */
export type CgroupMounts = {
  /** v1: one folder for each controller, `name=systemd` among them. Empty where only v2 is mounted. */
  readonly legacy: ReadonlyMap<string, string>;
  /** v2. On a hybrid host it is there beside `legacy` and holds no controllers. */
  readonly unified: string | undefined;
};

export function readCgroupMounts(): CgroupMounts {
  return parseCgroupMounts(readFileSync("/proc/self/mountinfo", "utf8"));
}

/** Reads proc_pid_mountinfo(5): optional fields end at a lone hyphen; type, source and super options follow. */
export function parseCgroupMounts(mountinfo: string): CgroupMounts {
  const legacy = new Map<string, string>();
  let unified: string | undefined;
  for (const line of mountinfo.split("\n")) {
    const [before = "", after = ""] = line.split(" - ");
    const path = before.split(" ")[4];
    const [type, , options = ""] = after.split(" ");
    if (path === undefined) continue;
    if (type === "cgroup2") unified ??= path;
    if (type === "cgroup") {
      for (const option of options.split(",")) {
        if (option !== "rw" && option !== "ro" && !legacy.has(option)) legacy.set(option, path);
      }
    }
  }
  return { legacy, unified };
}

/** Where each hierarchy is mounted; several controllers may share one. */
export function allMounts({ legacy, unified }: CgroupMounts): readonly string[] {
  return [...new Set([...legacy.values(), ...(unified === undefined ? [] : [unified])])];
}
