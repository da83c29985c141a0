/** Level 2 against clouds that live in memory: the real core, fake clouds and agents, and a clock that the test moves. */
import { join } from "node:path";

import { createFakeCloud, type FakeCloud } from "@strata/controller/providers/fake";
import {
  parseVmId,
  type Provider,
  type VmId,
  type VmRequest,
} from "@strata/controller/providers/provider";

import { aController, type TestController } from "./controller.ts";
import { aFakeAgent, type FakeAgent, prepare } from "./fake-agent.ts";
import { aTemporaryDirectory } from "./temporary.ts";

const GIB = 1024 ** 3;

export type FleetOptions = {
  /** Names of the clouds [`cloud`]. */
  readonly clouds?: readonly string[];
  /** From a creation to the join of its agent; Infinity never [30 s]. */
  readonly bootMs?: (request: VmRequest) => number;
  /** The controller will be restarted, so that its database must be a file. */
  readonly restarts?: boolean;
  /** Clouds whose VMs boot no agent. */
  readonly dead?: readonly string[];
  /** What its nodes report as their memory [4]. */
  readonly nodeGib?: number;
  /** Of the partition `web`, besides its providers. */
  readonly policy?: object;
  /** Processes of the subscription `hi`, of 1 GiB each on nodes of 4 GiB. */
  readonly processes?: number;
};

export type Fleet = AsyncDisposable & {
  readonly controller: TestController;
  readonly cloud: (name?: string) => FakeCloud;
  /** Every creation that a cloud was asked for, repeated ones too. */
  readonly requests: { readonly cloud: string; readonly request: VmRequest }[];
  /** By VM. */
  readonly agents: Map<string, FakeAgent>;
  /** Its VM is destroyed behind the controller's back, or only its agent falls silent. */
  readonly destroy: (vm: string) => void;
  readonly silence: (vm: string) => void;
  /** Time passes, in strides shorter than an agent's beat. */
  readonly pass: (seconds: number, options?: { readonly idle: boolean }) => Promise<void>;
  /** From now to the next restart these calls do their work and never answer. */
  readonly hang: (method: "create" | "delete") => void;
  /** The first cloud, as the controller sees it. */
  readonly connect: () => Provider;
  /** Until the condition holds. Throws after so many seconds of the clock. */
  readonly until: (
    what: string,
    condition: () => boolean | Promise<boolean>,
    seconds?: number,
  ) => Promise<void>;
  readonly scale: (processes: number) => Promise<void>;
  /** The controller is killed, with every call that it has under way, and another one starts on its database. */
  readonly restart: () => Promise<void>;
  readonly vms: () => Promise<readonly { readonly id: string; readonly state: string }[]>;
  readonly cloudVms: (name?: string) => Promise<readonly string[]>;
  readonly reasons: () => Promise<readonly string[]>;
  readonly running: () => Promise<number>;
};

/** What a process takes of a node of 4 GiB. */
export const quarter = { memory: "1Gi", cpu: 1, pids: 100 };
const flavor = { cpu: 4, memory: "4Gi", image: "debian" };
const CONTROLLER = "tested";
/** Of the clock, at once: less than an agent's beat. */
const STRIDE_SECONDS = 3;

type Booting = { readonly joinAtMs: number; readonly request: VmRequest };

export async function aFleet(options: FleetOptions = {}): Promise<Fleet> {
  const folder = aTemporaryDirectory();
  const { clouds: names = ["cloud"], bootMs = () => 30_000, dead = [], nodeGib = 4 } = options;
  const capacity = { cpuMillis: 4000, memoryBytes: nodeGib * GIB, pids: 100_000 };
  const requests: Fleet["requests"] = [];
  const booting = new Map<string, Booting>();
  const agents = new Map<string, FakeAgent>();
  const silent = new Set<string>();
  const hanging = new Set<"create" | "delete">();
  const state: { controller: TestController | undefined } = { controller: undefined };
  const now = (): number => state.controller?.services.clock.nowMs() ?? 0;
  const clouds = new Map(names.map((name) => [name, createFakeCloud({ now })]));
  const cloudOf = (name = names[0] ?? ""): FakeCloud => {
    const cloud = clouds.get(name);
    if (cloud === undefined) throw new Error(`there is no cloud ${name}`);
    return cloud;
  };
  let starts = 0;
  const start = (startMs?: number): Promise<TestController> =>
    aController({
      firstId: (starts += 1) * 100_000,
      ...(options.restarts === true ? { file: join(folder.path, "strata.db") } : {}),
      ...(startMs === undefined ? {} : { startMs }),
      openProvider: (_settings, { name }) => {
        const provider = cloudOf(name).connect(CONTROLLER);
        return {
          ...provider,
          create: async (request, signal) => {
            requests.push({ cloud: name, request });
            const vm = await provider.create(request, signal);
            if (hanging.has("create")) await aborted(signal);
            const joinAtMs = dead.includes(name) ? Infinity : now() + bootMs(request);
            if (!booting.has(request.clientToken))
              booting.set(request.clientToken, { joinAtMs, request });
            return vm;
          },
          delete: async (id, signal) => {
            await provider.delete(id, signal);
            if (hanging.has("delete")) await aborted(signal);
          },
        };
      },
    });
  const current = (): TestController => {
    if (state.controller === undefined) throw new Error("the controller is not up");
    return state.controller;
  };

  // An agent outlives the controller that it joined.
  const calls: Pick<TestController, "call"> = {
    call: (...args) => current().call(...args),
  };

  const isThere = async (vm: string): Promise<boolean> =>
    (await Promise.all(names.map((name) => listCloud(cloudOf(name))))).flat().includes(vm);

  const joinDue = async (): Promise<void> => {
    for (const [id, { joinAtMs, request }] of booting) {
      if (agents.has(id) || joinAtMs > now() || !(await isThere(id))) continue;
      const token = request.firstBoot.files.find(({ path }) => path.endsWith("/token"))?.content;
      try {
        const agent = await aFakeAgent(calls, {
          name: id,
          partition: request.partition,
          capacity,
          joinToken: (token ?? "").trim(),
        });
        agents.set(id, agent);
      } catch (error) {
        // A VM that is being deleted is refused.
        booting.delete(id);
        if (!String(error).includes("JOIN_TOKEN_INVALID")) throw error;
      }
    }
  };
  const beat = async (): Promise<void> => {
    for (const [id, agent] of agents) {
      if (!(await isThere(id))) {
        agents.delete(id);
        continue;
      }
      if (!silent.has(id)) await agent.work();
    }
  };
  const turn = async (idle: boolean): Promise<void> => {
    const { settle, ticks } = current();
    settle();
    ticks.provision.tick();
    if (idle) await ticks.provision.idle();
    else await new Promise((resolve) => void setImmediate(resolve));
    ticks.provision.tick();
    settle();
  };
  const step = async (seconds: number, idle: boolean): Promise<void> => {
    current().advance(seconds * 1000);
    await joinDue();
    await beat();
    await turn(idle);
  };
  const pass: Fleet["pass"] = async (seconds, { idle } = { idle: true }) => {
    // A short time is looked at second by second.
    const strides = seconds < 2 * STRIDE_SECONDS ? 0 : Math.floor(seconds / STRIDE_SECONDS);
    for (let stride = 0; stride < strides; stride += 1) await step(STRIDE_SECONDS, idle);
    for (let rest = seconds - strides * STRIDE_SECONDS; rest > 0; rest -= 1) await step(1, idle);
  };

  state.controller = await start();
  await setUp(current(), options, names);
  return {
    get controller() {
      return current();
    },
    cloud: cloudOf,
    requests,
    agents,
    destroy: (vm) => {
      for (const name of names) cloudOf(name).remove(idOf(vm));
    },
    silence: (vm) => silent.add(vm),
    hang: (method) => hanging.add(method),
    connect: () => cloudOf().connect(CONTROLLER),
    pass,
    until: async (what, condition, seconds = 600) => {
      for (let second = 0; second < seconds; second += STRIDE_SECONDS) {
        if (await condition()) return;
        await step(STRIDE_SECONDS, true);
      }
      throw new Error(`not in ${seconds} s: ${what}`);
    },
    scale: async (processes) => {
      const answer = await current().call("POST", "/v1/subscriptions/hi/scale", {
        body: { processes },
      });
      if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
    },
    restart: async () => {
      const startMs = now();
      hanging.clear();
      await current().ticks.provision.stop();
      await current()[Symbol.asyncDispose]();
      state.controller = await start(startMs);
    },
    vms: async () => (await current().call("GET", "/v1/vms")).body.items,
    cloudVms: (name) => listCloud(cloudOf(name)),
    reasons: async () =>
      (await current().call("GET", "/v1/partitions/web/decisions")).body.items.map(
        ({ reason }: { reason: string }) => reason,
      ),
    running: async () => (await current().call("GET", "/v1/subscriptions/hi")).body.status.ready,
    [Symbol.asyncDispose]: async () => {
      await current().ticks.provision.stop();
      await current()[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

async function aborted(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  signal.addEventListener("abort", () => reject(new Error("aborted")), { once: true });
  return promise;
}

/** With so many processes running, past the minute after a start in which nobody is found silent. */
export async function aRunningFleet(processes: number, policy: object = {}): Promise<Fleet> {
  const fleet = await aFleet({ policy });
  await fleet.scale(processes);
  await fleet.until("all are running", async () => (await fleet.running()) === processes);
  await fleet.pass(70);
  return fleet;
}

function idOf(vm: string): VmId {
  return parseVmId(`${CONTROLLER}/${vm}`);
}

async function listCloud(cloud: FakeCloud): Promise<readonly string[]> {
  const vms = await cloud.connect(CONTROLLER).list(new AbortController().signal);
  return vms.map(({ clientToken }) => clientToken);
}

async function setUp(
  controller: TestController,
  { policy = {}, processes = 0 }: FleetOptions,
  names: readonly string[],
): Promise<void> {
  const put = async (path: string, body: object): Promise<void> => {
    const answer = await controller.call("PUT", path, { body });
    if (answer.status > 201) throw new Error(`${path}: ${JSON.stringify(answer.body)}`);
  };
  await prepare(controller);
  for (const name of names) {
    const settings = { kind: "exec", command: ["/bin/false"] };
    await put(`/v1/providers/${name}`, { settings, flavors: { small: flavor } });
  }
  await put("/v1/partition-policies/elastic", {
    maxNodes: 20,
    providers: names.map((provider) => ({ provider, flavor: "small" })),
    ...policy,
  });
  await put("/v1/partitions/web", { policy: "elastic" });
  await put("/v1/subscriptions/hi", { cartridge: "hello", processes, resources: quarter });
}
