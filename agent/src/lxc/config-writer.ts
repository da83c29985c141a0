import { AgentError } from "../errors.ts";

/** Keys that the agent sets. A key that is not here cannot be written: no hook, no include. */
export type LxcKey =
  | "lxc.apparmor.profile"
  | "lxc.rootfs.path"
  | "lxc.uts.name"
  | "lxc.idmap"
  | "lxc.net.0.type"
  | "lxc.net.0.link"
  | "lxc.net.0.flags"
  | "lxc.net.0.hwaddr"
  | "lxc.net.0.name"
  | "lxc.net.0.veth.pair"
  | "lxc.net.0.ipv4.address"
  | "lxc.net.0.ipv4.gateway"
  | "lxc.net.0.ipv6.address"
  | "lxc.net.0.ipv6.gateway"
  | "lxc.cap.drop"
  | "lxc.cap.keep"
  | "lxc.no_new_privs"
  | "lxc.seccomp.profile"
  | "lxc.autodev"
  | "lxc.mount.auto"
  | "lxc.mount.entry"
  | "lxc.console.logfile"
  | "lxc.console.path"
  | "lxc.tty.max"
  | "lxc.pty.max"
  | "lxc.environment"
  | "lxc.init.cwd"
  | "lxc.cgroup.dir.container"
  | "lxc.cgroup.dir.monitor"
  | "lxc.cgroup.dir.monitor.pivot"
  | "lxc.cgroup.memory.limit_in_bytes"
  | `lxc.cgroup.blkio.throttle.${"read" | "write"}_${"bps" | "iops"}_device`
  | "lxc.cgroup2.memory.max";

export type LxcEntry = readonly [key: LxcKey, value: string];

const VALUE_LENGTH_MAX = 65_536;

/** The text of an LXC configuration file. The one place that makes one, because LXC runs what `lxc.hook.*` lines say as
 * root on the host: a value can never begin a line, and nothing but an LxcKey stands before the first `=`.
 * @throws AgentError CONTAINER_CONFIG_INVALID for a value with a line break or NUL. */
export function renderLxcConfig(entries: readonly LxcEntry[]): string {
  return entries.map(([key, value]) => `${key} = ${quote(key, value)}\n`).join("");
}

/** LXC trims a value and then takes one pair of quotes off, so whatever stands between them arrives unchanged. */
function quote(key: LxcKey, value: string): string {
  // oxlint-disable-next-line no-control-regex -- these are exactly the characters to refuse
  if (/[\u0000\n\r]/.test(value)) {
    throw invalid(key, "contains a line break or NUL");
  }
  if (value.length > VALUE_LENGTH_MAX) throw invalid(key, `has ${value.length} characters`);
  return `"${value}"`;
}

function invalid(key: LxcKey, what: string): AgentError {
  return new AgentError("CONTAINER_CONFIG_INVALID", `a value for ${key} ${what}`, {
    hint: "remove it from the image's config or from the subscription's env, command or working directory",
  });
}
