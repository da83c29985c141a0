/** What limits come to on a machine whose kernel has cgroup v2 alone: set, measured, changed while the process runs. */
import { join } from "node:path";

import { listOf, Node, Process } from "@strata/protocol/api/resources";
import { z } from "zod";

import { waitFor } from "../../../scripts/instance/wait.ts";
import type { RunningInstance } from "../../support/running-instance.ts";
import { assert } from "../../support/suite.ts";
import { readMachineFile } from "./machine-files.ts";

/** Of one step; an emulated machine is slow. */
const STEP_MS = 240_000;
const MIB = 1024 ** 2;

const resources = {
  memory: "64Mi",
  memoryHigh: "48Mi",
  swap: "16Mi",
  cpu: 0.5,
  cpuWeight: 200,
  pids: 64,
  io: { writePerSecond: "1Mi", readOpsPerSecond: 1000 },
};

/** Checks all of it on the node of this name. */
export async function holdsLimits(strata: RunningInstance, nodeName: string): Promise<void> {
  const address = await addressOf(strata, nodeName);
  await put(strata, resources);
  const [process] = await until("it is ready", async () => {
    const all = await strata.processes("shaped");
    return all.length === 1 && all[0]?.ready === true ? all : undefined;
  });
  if (process === undefined) throw new Error("no process");
  const group = await findGroup(address, process);
  const read = (name: string): Promise<string> => readMachineFile(address, join(group, name));

  assert.is(await read("box/memory.max"), String(64 * MIB));
  assert.is(await read("box/memory.high"), String(48 * MIB));
  assert.is(await read("box/memory.swap.max"), String(16 * MIB));
  assert.is(await read("box/cpu.max"), "50000 100000");
  assert.is(await read("cpu.weight"), "200");
  assert.is(await read("box/pids.max"), "64");
  assert.match(await read("box/io.max"), /^\d+:0 rbps=max wbps=1048576 riops=1000 wiops=max$/);

  const { metrics } = await shown(strata, process.id);
  assert.is(metrics?.oomKills, 0);
  assert.is(typeof metrics?.ioReadBytes, "number");
  assert.ok(metrics?.pressure !== undefined && metrics.pressure.cpuSome >= 0);

  await holdsChanges(strata, process, read);
}

async function holdsChanges(
  strata: RunningInstance,
  { id, pid }: Process,
  read: (name: string) => Promise<string>,
): Promise<void> {
  const memoryIs = (mebibytes: number) => async (): Promise<true | undefined> =>
    (await read("box/memory.max")) === String(mebibytes * MIB) ? true : undefined;
  await put(strata, { memory: "96Mi", cpu: 1, pids: 32 });
  await until("it has more memory", memoryIs(96));
  assert.is(await read("box/c/memory.max"), String(96 * MIB));
  await until("it has nothing else", async () =>
    (await read("cpu.weight")) === "100" ? true : undefined,
  );
  assert.is(await read("box/memory.high"), "max");
  assert.is(await read("box/cpu.max"), "100000 100000");
  assert.is(await read("box/pids.max"), "32");
  assert.is(await read("box/io.max"), "");

  const tooMuch = await run(strata, id, "dd if=/dev/zero of=/dev/null bs=120M count=1");
  assert.is(tooMuch, 137, "the new limit stops what is larger");
  const held = await run(strata, id, "dd if=/dev/zero of=/dev/shm/held bs=1M count=40");
  assert.is(held, 0);
  await put(strata, { memory: "24Mi", cpu: 1, pids: 32 });
  await until("less than it uses is refused", async () =>
    (await shown(strata, id)).reason?.code === "RESIZE_REFUSED" ? true : undefined,
  );
  assert.is(await read("box/memory.max"), String(96 * MIB));
  assert.is(await run(strata, id, "rm /dev/shm/held"), 0);
  await until("it has less memory once it uses less", memoryIs(24));
  await until("nothing is refused any more", async () =>
    (await shown(strata, id)).reason === null ? true : undefined,
  );
  const after = await until("what was killed is counted", async () => {
    const now = await shown(strata, id);
    return (now.metrics?.oomKills ?? 0) > 0 ? now : undefined;
  });
  assert.is(after.pid, pid, "it was never restarted");
  assert.is(after.restarts, 0);
}

async function put(strata: RunningInstance, wanted: object): Promise<void> {
  const body = { cartridge: "hello", partition: "rented", processes: 1, resources: wanted };
  await strata.mustCall("PUT", "/v1/subscriptions/shaped", body);
}

async function shown({ mustCall }: RunningInstance, id: string): Promise<Process> {
  return Process.parse(await mustCall("GET", `/v1/processes/${id}`));
}

/** The exit code of a line of shell in the container. */
async function run({ mustCall }: RunningInstance, id: string, line: string): Promise<number> {
  const command = ["/bin/busybox", "sh", "-c", `/bin/busybox ${line}; exit $?`];
  const answer = await mustCall("POST", `/v1/processes/${id}/exec`, { command });
  return z.object({ exitCode: z.int() }).parse(answer).exitCode;
}

async function addressOf({ mustCall }: RunningInstance, name: string): Promise<string> {
  const { items } = listOf(Node).parse(await mustCall("GET", "/v1/nodes"));
  const address = items.find((node) => node.name === name)?.address;
  if (address === undefined) throw new Error(`there is no node ${name}`);
  return address;
}

/** Where the limits of the process stand; it is itself in `box/c`, or below. */
async function findGroup(address: string, { id, pid }: Process): Promise<string> {
  const text = await readMachineFile(address, `/proc/${pid}/cgroup`);
  const [, path] = /^0::(\/.*?)\/box\//m.exec(text) ?? [];
  if (path === undefined || !path.endsWith(`/${id}`)) throw new Error(`cgroup of ${id}: ${text}`);
  return join("/sys/fs/cgroup", path);
}

async function until<Value>(what: string, ask: () => Promise<Value | undefined>): Promise<Value> {
  const found = await waitFor(ask, { timeoutMs: STEP_MS, pollMs: 1000 });
  if (found === undefined) throw new Error(`never came true: ${what}`);
  return found;
}
