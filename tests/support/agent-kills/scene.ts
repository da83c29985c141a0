/** One agent under test: its controller, its registry, its wishes, and what is done to it. */
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { openCgroups } from "@strata/agent/cgroup/open-cgroups";
import { parseConfig } from "@strata/agent/config";
import { agentPaths } from "@strata/agent/paths";
import { formatJoinToken } from "@strata/protocol/agent/join-token";

import type { AppImage } from "../../agent/image/an-app-image.ts";
import { aController, type TestController } from "../../agent/support/a-controller.ts";
import { anAgent, type TestAgent } from "../../agent/support/an-agent.ts";
import { aTemporaryDirectory } from "../temporary.ts";
import { Chance } from "./chance.ts";
import { findDifferences, findOrphans, findReplaced, type Machine } from "./differences.ts";
import { findApplications, isMounting, isUnpacking } from "./observe.ts";
import { killWhileRemoving, removeImages } from "./removal.ts";
import { aSlowRegistry, type SlowRegistry } from "./slow-registry.ts";
import { Wisher } from "./wisher.ts";

/** What the agent is at when it is killed. `recovery`: before the first report of its life. */
export const phases = ["recovery", "pull", "unpack", "mount", "start", "stop"] as const;
export type Phase = (typeof phases)[number];

export type SceneOptions = {
  /** Marks this scene's applications among all processes of the machine: letters and digits. */
  readonly key: string;
  readonly images: readonly AppImage[];
  readonly hostPorts: string;
  /** Between 0 and 1. */
  readonly random: () => number;
};

/** How long after a phase was met the kill may come. */
const spreadMs: Readonly<Record<Phase, number>> = {
  recovery: 600,
  pull: 150,
  unpack: 80,
  mount: 3,
  start: 60,
  stop: 350,
};
const COLLECTION_MS = 10;
const REACH_MS = 5000;
const LOOK_MS = 2;
const REST_MS = 120_000;
const REST_LOOK_MS = 100;

type Parts = {
  readonly chance: Chance;
  readonly agent: TestAgent;
  readonly controller: TestController;
  readonly registry: SlowRegistry;
  readonly wisher: Wisher;
  readonly machine: Omit<Machine, "agentPid">;
  readonly logPath: string;
  readonly undo: AsyncDisposableStack;
};
type Life = ReturnType<TestAgent["start"]> & { readonly reportsBefore: number };

export class Scene implements AsyncDisposable {
  readonly #parts: Parts;
  #life: Life | undefined;

  private constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** An agent that has joined, has nothing to do and does not run. */
  static async open({ key, images, hostPorts, random }: SceneOptions): Promise<Scene> {
    await using undo = new AsyncDisposableStack();
    const folder = undo.use(aTemporaryDirectory());
    const registry = aSlowRegistry(images);
    const controller = undo.use(await aController(undefined, registry.routes));
    const logPath = join(folder.path, "agent.log");
    const logFd = openSync(logPath, "a");
    undo.defer(() => closeSync(logFd));
    const environment = { STRATA_HOST_PORTS: hostPorts, STRATA_PEER_PORT: "0" };
    const agent = undo.use(anAgent(folder.path, { environment, logFd }));
    await joinTo(controller, agent);
    const config = parseConfig(agent.environment);
    const { bridge } = config;
    const paths = agentPaths(config);
    const cgroups = openCgroups(readFileSync(paths.machineId, "utf8").trim());
    const chance = new Chance(random);
    const digests = images.map(({ manifest }) => manifest.digest);
    const wisher = new Wisher({ key, paths, chance, digests });
    const machine = { key, folder: folder.path, paths, bridge, cgroups, slots: wisher.slots };
    const parts = { chance, agent, controller, registry, wisher, machine, logPath };
    return new Scene({ ...parts, undo: undo.move() });
  }

  begin(): void {
    const { agent, controller } = this.#parts;
    this.#life = { ...agent.start(), reportsBefore: controller.reports.length };
  }

  /** Wants something that leads the agent into this phase. */
  aim(phase: Phase): void {
    const { wisher } = this.#parts;
    if (phase === "pull" || phase === "unpack") wisher.wantMore({ isPulled: false });
    if (phase === "mount" || phase === "start") wisher.wantMore({ isPulled: true });
    if (phase === "stop") wisher.wantLess();
    this.#say();
  }

  /** Waits for the phase and then a while, and kills the agent, whatever it is at by then: that is returned. */
  async strike(phase: Phase): Promise<readonly Phase[]> {
    const isReached = phase === "recovery" ? () => true : () => this.#isIn(phase);
    await until(isReached, { ms: REACH_MS, lookMs: LOOK_MS });
    const waitMs = this.#parts.chance.upTo(spreadMs[phase]);
    // A timer of a busy machine is late by more than a phase may last.
    if (waitMs >= 1) await delay(waitMs);
    const hit = phases.filter((candidate) => this.#isIn(candidate));
    await this.#kill();
    return hit;
  }

  /** Processes that are not what they were, or there twice. */
  findReplaced(): readonly string[] {
    const { key, slots } = this.#parts.machine;
    return findReplaced(key, slots);
  }

  /** Ends an application while the agent is away; in half of the cases it ends no earlier than the agent is back. */
  async endOne(): Promise<void> {
    const { chance, wisher, machine } = this.#parts;
    const pid = wisher.endOne();
    if (pid === undefined || chance.happens(0.5)) return;
    const isGone = (): boolean => !findApplications(machine.key).some((one) => one.pid === pid);
    await until(isGone, { ms: REACH_MS, lookMs: LOOK_MS });
  }

  /** Removes images that nothing needs, and kills what removes them. True when it was at work. */
  async killCollection(): Promise<boolean> {
    const { chance, wisher, machine } = this.#parts;
    const removal = { directory: machine.paths.images, digests: wisher.listUnusedImages() };
    return await killWhileRemoving(removal, chance.upTo(COLLECTION_MS));
  }

  /** Lets the agent come to rest, and gives what is not as it must be by then. Removes what is not needed. */
  async rest(): Promise<readonly string[]> {
    const { controller, wisher, machine } = this.#parts;
    const before = controller.reports.length;
    this.begin();
    this.#say();
    let differences: readonly string[] = [];
    const isWell = (): boolean => {
      const report = controller.reports.slice(before).at(-1);
      differences = findDifferences({ ...machine, agentPid: this.#life?.pid }, report);
      return differences.length === 0;
    };
    await until(isWell, { ms: REST_MS, lookMs: REST_LOOK_MS });
    wisher.forgetEnded();
    await this.#kill();
    await removeImages({ directory: machine.paths.images, digests: wisher.listUnusedImages() });
    return [...differences, ...findOrphans(machine.paths)];
  }

  /** The last lines of the agent's own log. */
  get log(): string {
    return readFileSync(this.#parts.logPath, "utf8").split("\n").slice(-60).join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.undo.disposeAsync();
  }

  #say(): void {
    const { controller, wisher } = this.#parts;
    controller.assign(...wisher.slots.flatMap(({ wish }) => wish ?? []));
  }

  async #kill(): Promise<void> {
    await this.#life?.kill("SIGKILL");
    this.#life = undefined;
  }

  #isIn(phase: Phase): boolean {
    const { controller, registry, machine, wisher } = this.#parts;
    switch (phase) {
      case "recovery":
        return controller.reports.length === this.#life?.reportsBefore;
      case "pull":
        return registry.requests() > 0;
      case "unpack":
        return isUnpacking(machine.paths);
      case "mount":
        return isMounting(machine.paths);
      case "start":
        return wisher.isStarting();
      case "stop":
        return wisher.isStopping();
      default:
        return phase satisfies never;
    }
  }
}

async function joinTo({ url, joinSecret }: TestController, agent: TestAgent): Promise<void> {
  const token = formatJoinToken({ id: "t1", secret: joinSecret, caFingerprint: "0".repeat(64) });
  const file = agent.writeToken(token);
  const { code, output } = await agent.run("join", "--controller", url, "--token-file", file);
  if (code !== 0) throw new Error(`join: ${output}`);
}

/** Looks until it is so, or until the time is over. */
async function until(
  isSo: () => boolean,
  { ms, lookMs }: { readonly ms: number; readonly lookMs: number },
): Promise<void> {
  const deadline = performance.now() + ms;
  while (!isSo() && performance.now() < deadline) await delay(lookMs);
}
