import { execFile, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { promisify } from "node:util";

const run = promisify(execFile);

export type Machine = AsyncDisposable & {
  /** Of the machine, as this one sees it. */
  readonly address: string;
  /** Of this machine, as the other sees it. */
  readonly hostAddress: string;
  /** Runs a line of shell there to its end. @throws Error with its output when it fails. */
  readonly shell: (line: string, env: Readonly<Record<string, string>>) => Promise<string>;
  /** Starts a program there; what it gives ends it. Whatever still runs ends with the scope. */
  readonly start: (
    command: readonly [string, ...string[]],
    env: Readonly<Record<string, string>>,
  ) => () => Promise<void>;
};

/** A /sys that shows this machine's network devices, as `ip netns exec` makes one, but with the control groups. */
export const seeOwnDevices: string = [
  "set -e",
  "mount --rbind /sys/fs/cgroup /mnt",
  "mount -t sysfs sysfs /sys",
  "mount --rbind /mnt /sys/fs/cgroup",
  "umount -l /mnt",
  'exec "$@"',
].join("; ");

/** A second machine: a network namespace of its own, wired to this one. Its processes end with it. */
export async function aMachine(): Promise<Machine> {
  const number = randomInt(0x10000);
  const name = `strata${number.toString(16)}`;
  const [ours, theirs] = [`${name}h`, `${name}m`];
  // A /30 of 10.224.0.0/13, which nothing else of the tests uses.
  const octets = (last: number): string =>
    `10.${224 + (number >> 14)}.${(number >> 6) & 255}.${((number & 63) << 2) + last}`;
  const [hostAddress, address] = [octets(1), octets(2)];
  const enter = [`--net=/run/netns/${name}`, "unshare", "--mount", "sh", "-c", seeOwnDevices, "sh"];
  const ip = (...args: readonly string[]): Promise<unknown> => run("ip", args);

  await using undo = new AsyncDisposableStack();
  await ip("netns", "add", name);
  undo.defer(async () => {
    await endProcesses(name);
    await ip("netns", "delete", name);
  });
  await ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name);
  await ip("address", "add", `${hostAddress}/30`, "dev", ours);
  await ip("link", "set", ours, "up");
  await ip("-n", name, "address", "add", `${address}/30`, "dev", theirs);
  await ip("-n", name, "link", "set", theirs, "up");
  await ip("-n", name, "link", "set", "lo", "up");
  await ip("-n", name, "route", "add", "default", "via", hostAddress);
  const whole = undo.move();

  return {
    address,
    hostAddress,
    shell: async (line, env) => {
      const { stdout, stderr } = await run("nsenter", [...enter, "sh", "-c", line], {
        env: { ...process.env, ...env },
      });
      return stdout + stderr;
    },
    start: (command, env) => {
      const child = spawn("nsenter", [...enter, ...command], {
        env: { ...process.env, ...env },
        stdio: "inherit",
      });
      return async () => {
        child.kill("SIGTERM");
        if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
      };
    },
    [Symbol.asyncDispose]: () => whole.disposeAsync(),
  };
}

async function endProcesses(name: string): Promise<void> {
  const { stdout } = await run("ip", ["netns", "pids", name]);
  for (const pid of stdout.split("\n").filter((line) => line !== "")) {
    try {
      process.kill(Number(pid), "SIGKILL");
    } catch {
      // It ended by itself.
    }
  }
}
