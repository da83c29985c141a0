import { existsSync } from "node:fs";
import { arch } from "node:os";
import { dirname } from "node:path";

import type { AgentConfig } from "../config.ts";
import { runTool } from "../host/run-tool.ts";
import { createPlanner } from "../network/policy.ts";
import { renderRuleset } from "../network/ruleset.ts";
import { emptyView } from "../network/view.ts";

/** What cannot be read off a file is tried, where it leaves nothing behind: on a mount that never gets a name, in a
 * network namespace that ends with the probe, in a dry run of nft. Each rejects with what the kernel said. */

/** The first of them has the kernel load modules: on an emulated machine that takes longer than all else. */
const PROBE_MS_MAX = 60_000;

/** Maps the ids of a clone of the folder's mount, as each container's layers are mapped. Not every file system can. */
const idMapProbe = String.raw`
use strict;
my ($architecture, $folder) = @ARGV;
my $UNSHARE = $architecture eq "arm64" ? 97 : 272;
my ($OPEN_TREE, $MOUNT_SETATTR, $AT_FDCWD, $AT_EMPTY_PATH) = (428, 442, -100, 0x1000);
my ($CLONE_NEWUSER, $MOUNT_ATTR_IDMAP) = (0x10000000, 0x100000);
pipe(my $ready_out, my $ready_in) or die "pipe: $!\n";
pipe(my $end_out, my $end_in) or die "pipe: $!\n";
my $child = fork() // die "fork: $!\n";
if ($child == 0) {
  close $end_in;
  my $failed = syscall($UNSHARE, $CLONE_NEWUSER) == -1;
  syswrite($ready_in, $failed ? "$!" : "ok");
  sysread($end_out, my $end, 1);
  exit 0;
}
close $ready_in;
sysread($ready_out, my $ready, 100);
die "user namespace: $ready\n" if $ready ne "ok";
for my $file (qw(uid_map gid_map)) {
  open(my $map, ">", "/proc/$child/$file") or die "$file: $!\n";
  syswrite($map, "0 0 1\n") or die "$file: $!\n";
}
open(my $namespace, "<", "/proc/$child/ns/user") or die "user namespace: $!\n";
my $tree = syscall($OPEN_TREE, $AT_FDCWD, "$folder", 1);
die "open_tree: $!\n" if $tree == -1;
my $attributes = pack "Q4", $MOUNT_ATTR_IDMAP, 0, 0, fileno $namespace;
my $empty = "";
syscall($MOUNT_SETATTR, $tree, $empty, $AT_EMPTY_PATH, $attributes, length $attributes) == 0
  or die "mount_setattr: $!\n";
`;

/** @throws AgentError TOOL_FAILED */
export async function probeIdMappedMount(folder: string): Promise<void> {
  await probe("perl", ["-e", idMapProbe, "--", arch(), findExisting(folder)]);
}

/** The folder, or the first above it that is there already: the agent makes the others. */
export function findExisting(folder: string): string {
  return existsSync(folder) ? folder : findExisting(dirname(folder));
}

/** An overlay in memory, in a mount namespace of its own. The kernel loads the module when it is asked for one, so none
 * of its lists tells whether it can.
 * @throws AgentError TOOL_FAILED */
export async function probeOverlay(folder: string): Promise<void> {
  const script =
    'mount -t tmpfs strata "$1" && cd "$1" && mkdir l u w m && ' +
    "mount -t overlay strata -o lowerdir=l,upperdir=u,workdir=w m";
  const place = findExisting(folder);
  await probe("unshare", ["--mount", "--propagation", "private", "sh", "-c", script, "sh", place]);
}

/** A bridge and a wire, in a network of their own.
 * @throws AgentError TOOL_FAILED */
export async function probeLinks(): Promise<void> {
  const script = "ip link add name br0 type bridge && ip link add name v0 type veth peer name v1";
  await probe("unshare", ["--net", "sh", "-c", script]);
}

/** The agent's own rules.
 * @throws AgentError TOOL_FAILED */
export async function probeRuleset(config: AgentConfig): Promise<void> {
  await runTool("nft", ["-c", "-f", "-"], {
    input: renderRuleset(config, {
      objects: createPlanner(config)({ view: emptyView, containers: [], resolverPort: 53 }),
      mac: "02:00:00:00:00:01",
      hostPorts: config.hostPorts,
    }),
    timeoutMs: PROBE_MS_MAX,
  });
}

/** The text of `lxc-execute --version`.
 * @throws AgentError TOOL_FAILED */
export async function readLxcVersion(): Promise<string> {
  return (await probe("lxc-execute", ["--version"])).trim();
}

async function probe(program: string, args: readonly string[]): Promise<string> {
  return (await runTool(program, args, { timeoutMs: PROBE_MS_MAX })).stdout;
}
