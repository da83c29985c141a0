/** One machine of QEMU in its folder: start it, look at it, end it. */
import { access, constants, readFile, rename, rm, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

import { z } from "zod";

import { renderCloudConfig } from "./cloud-init.ts";
import { ProviderError } from "./errors.ts";
import { quote } from "./first-boot.ts";
import type { Vm, VmRequest } from "./provider.ts";
import {
  diskCommand,
  filesOf,
  imageInfoCommand,
  machineCommand,
  seedCommand,
  type VmFiles,
} from "./qemu-command.ts";
import type { QemuImage, QemuSettings } from "./qemu-settings.ts";
import { askQmp } from "./qmp.ts";
import { failedRun, runProgram } from "./run-program.ts";

export type MachineWish = {
  readonly request: VmRequest;
  readonly image: QemuImage;
  readonly settings: QemuSettings;
};

const QMP_TIMEOUT_MS = 2000;
const POLL_MS = 50;
const KILL_GRACE_MS = 5000;

/** Whether everything was set going once; true for a machine that ended since. */
export async function isStarted(folder: string): Promise<boolean> {
  return exists(filesOf(folder).started);
}

/** Makes what the machine needs and starts it, unless an earlier try that was cut off has started it already.
 * @throws ProviderError */
export async function startMachine(
  folder: string,
  wish: MachineWish,
  signal: AbortSignal,
): Promise<void> {
  const files = filesOf(folder);
  if ((await findPid(files)) === undefined) {
    await makeDisk(files, wish, signal);
    await makeSeed(files, wish.request, signal);
    await writeBridgeScript(files, wish.settings);
    const accelerator = await chooseAccelerator(wish.settings);
    const isRoot = process.getuid?.() === 0;
    await run(machineCommand(files, { ...wish, accelerator, isRoot }), signal);
  }
  await writeFile(files.started, "");
}

/** Asks QEMU, and the process table where QEMU does not answer. */
export async function lookAtMachine(
  folder: string,
  signal: AbortSignal,
): Promise<Pick<Vm, "state" | "message">> {
  const files = filesOf(folder);
  const started = await exists(files.started);
  if ((await findPid(files)) === undefined) {
    return started
      ? { state: "stopped", message: "its QEMU has ended" }
      : { state: "creating", message: "its QEMU was not started yet" };
  }
  if (!started) return { state: "creating", message: "its QEMU was just started" };
  try {
    const status = await askMachine(files, "query-status", signal);
    return status === "running"
      ? { state: "running", message: status }
      : { state: "stopped", message: status };
  } catch {
    signal.throwIfAborted();
    return { state: "running", message: "its QEMU runs, but does not answer" };
  }
}

/** Powers the machine off: by its own shutdown if it listens in time, by force otherwise. Absent is ended. */
export async function endMachine(
  folder: string,
  graceMs: number,
  signal: AbortSignal,
): Promise<void> {
  const files = filesOf(folder);
  const steps = [
    { end: () => tell(files, "system_powerdown", signal), waitMs: graceMs },
    { end: () => tell(files, "quit", signal), waitMs: KILL_GRACE_MS },
    { end: () => kill(files), waitMs: KILL_GRACE_MS },
  ];
  for (const { end, waitMs } of steps) {
    if ((await findPid(files)) === undefined) return;
    await end();
    if (await hasEnded(files, waitMs, signal)) return;
  }
  throw new ProviderError("PROVIDER_FAILED", `the QEMU of ${folder} does not end`);
}

async function tell(files: VmFiles, command: string, signal: AbortSignal): Promise<void> {
  await askMachine(files, command, signal).catch(() => signal.throwIfAborted());
}

async function kill(files: VmFiles): Promise<void> {
  const pid = await findPid(files);
  if (pid !== undefined) process.kill(pid, "SIGKILL");
}

async function hasEnded(files: VmFiles, waitMs: number, signal: AbortSignal): Promise<boolean> {
  for (let waitedMs = 0; waitedMs <= waitMs; waitedMs += POLL_MS) {
    if ((await findPid(files)) === undefined) return true;
    await sleep(POLL_MS, undefined, { signal });
  }
  return false;
}

/** The pid of this machine's QEMU. A pid that somebody else has by now is told by its command line. */
async function findPid(files: VmFiles): Promise<number | undefined> {
  const pid = Number(await readText(files.pid));
  if (!Number.isInteger(pid) || pid <= 0) return undefined;
  const commandLine = (await readText(`/proc/${pid}/cmdline`)).split("\0");
  return commandLine.includes(files.pid) ? pid : undefined;
}

const Status = z.object({ status: z.string() });

/** The machine's status for `query-status`, and an empty text for other commands. */
async function askMachine(files: VmFiles, execute: string, signal: AbortSignal): Promise<string> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(QMP_TIMEOUT_MS)]);
  const answer = Status.safeParse(await askQmp(files.qmp, { execute }, limit));
  return answer.success ? answer.data.status : "";
}

const ImageInfo = z.object({ "virtual-size": z.int() });

async function makeDisk(
  files: VmFiles,
  { request, image }: MachineWish,
  signal: AbortSignal,
): Promise<void> {
  const { diskBytes } = request.flavor;
  const info = ImageInfo.parse(JSON.parse(await run(imageInfoCommand(image), signal)));
  if (diskBytes < info["virtual-size"]) {
    throw new ProviderError(
      "PROVIDER_INVALID",
      `a disk of ${diskBytes} bytes cannot hold ${image.disk}`,
      {
        hint: `give the flavor ${request.flavor.name} at least ${info["virtual-size"]} bytes of disk`,
      },
    );
  }
  await makeFile(files.disk, (target) => run(diskCommand(target, image, diskBytes), signal));
}

async function makeSeed(files: VmFiles, request: VmRequest, signal: AbortSignal): Promise<void> {
  const name = request.clientToken;
  await writeFile(files.userData, renderCloudConfig(request.firstBoot), { mode: 0o600 });
  await writeFile(files.metaData, `instance-id: ${name}\nlocal-hostname: ${name}\n`);
  await makeFile(files.seed, (target) => run(seedCommand(target, files), signal));
  await rm(files.userData);
}

async function writeBridgeScript(files: VmFiles, { bridge }: QemuSettings): Promise<void> {
  if (bridge === undefined) return;
  const script = `#!/bin/sh\nexec ip link set dev "$1" up master ${quote(bridge)}\n`;
  await writeFile(files.bridgeScript, script, { mode: 0o700 });
}

/** Under another name first, so that half a file is never taken for one. */
async function makeFile(file: string, make: (target: string) => Promise<unknown>): Promise<void> {
  const target = `${file}.new`;
  await make(target);
  await rename(target, file);
}

/** KVM where the processor has it. A device file alone says little: some kernels have one for guests that must be
 * built for it. */
async function chooseAccelerator({ accelerator }: QemuSettings): Promise<"kvm" | "tcg"> {
  if (accelerator !== "auto") return accelerator;
  const hasFlag = /^flags\s*:.*\b(vmx|svm)\b/m.test(await readText("/proc/cpuinfo"));
  return hasFlag && (await exists("/dev/kvm")) ? "kvm" : "tcg";
}

const toolEnv = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  LANG: "C.UTF-8",
};

async function run(command: readonly [string, ...string[]], signal: AbortSignal): Promise<string> {
  const result = await runProgram({ command, env: toolEnv }, signal);
  if (result.exitCode !== 0) throw failedRun(command[0], result);
  return result.stdout;
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch {
    return "";
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}
