import type { ProcessSpec } from "@strata/protocol/agent/messages";

import type { TmpfsVolume } from "./contents-plan.ts";

/** Programs that are an init wherever they are the whole command. */
const inits: ReadonlySet<string> = new Set([
  "/init",
  "/bin/init",
  "/bin/systemd",
  "/lib/systemd/systemd",
  "/sbin/init",
  "/sbin/openrc-init",
  "/sbin/runit",
  "/sbin/runit-init",
  "/usr/bin/systemd",
  "/usr/lib/systemd/systemd",
  "/usr/sbin/init",
  "/usr/sbin/openrc-init",
  "/usr/sbin/runit",
  "/usr/sbin/runit-init",
]);

/** Whether the command shall be PID 1 of a system container, and look after its services itself. Where nobody says so, it
 * is when the entry point is an init by its name, run as root. Pure. */
export function isSystemContainer(
  init: ProcessSpec["init"],
  { argv, user }: { readonly argv: readonly string[]; readonly user: string },
): boolean {
  if (init !== undefined && init !== "auto") return init === "system";
  const [program = "", first] = argv;
  const isInit = inits.has(program) || (/^(.*\/)?busybox$/.test(program) && first === "init");
  return isInit && /^(|0|root)(:(0|root))?$/.test(user);
}

/** What LXC sends where nobody says more, and what is sent where neither image nor assignment names a signal: inits that
 * are known get their own. */
export const SIGPWR = 30;

const haltSignals: readonly (readonly [executable: RegExp, signal: number])[] = [
  // SIGRTMIN+3, SIGUSR2, SIGCONT.
  [/\/systemd$/, 37],
  [/\/busybox$/, 12],
  [/\/runit(-init)?$/, 18],
];

/** The signal by which this init ends its services and then itself. `executable` is PID 1's, as /proc names it. Pure. */
export function haltSignal(wanted: number, executable: string | undefined): number {
  if (wanted !== SIGPWR || executable === undefined) return wanted;
  return haltSignals.find(([pattern]) => pattern.test(executable))?.[1] ?? wanted;
}

/** What inits expect to be in memory, and empty at each start. */
export function systemFolders(memoryMaxBytes: number): readonly TmpfsVolume[] {
  return ["/run", "/run/lock", "/tmp"].map((path) => ({
    kind: "tmpfs",
    path,
    sizeBytes: memoryMaxBytes,
  }));
}
