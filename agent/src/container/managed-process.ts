import { mkdirSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";

import type { Assignment, Exit } from "@strata/protocol/agent/messages";
import { CodedError, getErrorCode } from "@strata/protocol/errors";

import { ID_RANGE_SIZE } from "../config.ts";
import { replaceFile } from "../durable-file.ts";
import { isAlive, type ProcessIdentity } from "../host/process-table.ts";
import { portKey } from "../network/host-ports.ts";
import type { PublishedPort } from "../network/ruleset.ts";
import { type ProcessPaths, processPaths } from "../paths.ts";
import { removeTree } from "../rootfs/remove-tree.ts";
import { endOfPause, type Pause, planRestart } from "./crash-policy.ts";
import { describeExit } from "./exit.ts";
import { type HealthWatch, watchHealth } from "./health.ts";
import type { RunnableImage } from "./image-source.ts";
import { planStep, type Step } from "./plan-step.ts";
import type { ProcessServices } from "./process-services.ts";
import type { ProcessRecord, RunRecord } from "./record.ts";
import { planRun, type RunPlan } from "./run-plan.ts";
import { launch, waitUntilRunning } from "./start.ts";
import { endOrphans, stopContainer, sweepRun } from "./stop.ts";
import { adoptSupervisor, readExitCode, type Supervisor } from "./supervisor.ts";
import { createWaker } from "./waker.ts";

/** What the agent does for a process right now, where its record does not say. */
export type Activity = "pulling" | "starting" | "draining";

/** A container that this agent watches. */
type ActiveRun = {
  readonly supervisor: Supervisor;
  /** Undefined when it ended faster than we looked. */
  readonly application: ProcessIdentity | undefined;
  readonly health: HealthWatch;
};

export type ProcessSnapshot = {
  readonly record: ProcessRecord;
  readonly activity: Activity | undefined;
  readonly application: ProcessIdentity | undefined;
  readonly isRunning: boolean;
  readonly isReady: boolean;
};

/** Another try of the same assignment gives the same. */
const permanentCodes: readonly string[] = [
  "CONTAINER_CONFIG_INVALID",
  "COMMAND_MISSING",
  "USER_UNKNOWN",
];
/** The first step with a container that another life of the agent started. */
const adopt = { kind: "adopt" } as const;
/** After a pull or a claim that may succeed later. */
const RETRY_MS = 10_000;
/** How often the application's first process is looked at. */
const ORPHANS_MS = 500;

/** One process of this node: its record, its container, and a loop that takes one step at a time towards what is
 * assigned. All steps of one process are in order; different processes do not wait for each other. */
export class ManagedProcess {
  readonly processId: string;
  readonly #services: ProcessServices;
  readonly #paths: ProcessPaths;
  readonly #waker = createWaker();
  #record: ProcessRecord;
  #isAssigned = true;
  #isDetached = false;
  #activity: Activity | undefined;
  #run: ActiveRun | undefined;
  #isOver = false;
  #retryPause: Pause | undefined;
  #pull = new AbortController();

  /** The record is a new one, or what another life of the agent left. Nothing happens until `drive`. */
  constructor(services: ProcessServices, record: ProcessRecord) {
    this.processId = record.assignment.processId;
    this.#services = services;
    this.#paths = processPaths(services.start.paths, this.processId);
    this.#record = record;
    this.#recognizeRun();
  }

  get snapshot(): ProcessSnapshot {
    return {
      record: this.#record,
      activity: this.#activity,
      application: this.#run?.application,
      isRunning: this.#run !== undefined,
      isReady: this.#run?.health.isReady() ?? false,
    };
  }

  /** Undefined: it is no longer this node's, so it is stopped and forgotten. */
  assign(assignment: Assignment | undefined): void {
    this.#isAssigned = assignment !== undefined;
    if (assignment !== undefined && !isDeepStrictEqual(assignment, this.#record.assignment)) {
      const isNew = assignment.id !== this.#record.assignment.id;
      if (isNew) this.#retryPause = undefined;
      this.#save({
        assignment,
        ...(isNew && {
          begun: false,
          ended: undefined,
          problem: undefined,
          crashes: { failures: 0 },
        }),
      });
    }
    if (assignment?.desired !== "running") this.#pull.abort();
    this.#waker.wake();
  }

  /** Runs until the process is forgotten or `detach` is called. */
  async drive(): Promise<void> {
    let isAdopted = false;
    while (!this.#isDetached) {
      isAdopted ||= this.#record.run === undefined || this.#run !== undefined;
      const step = isAdopted ? planStep(this.#view()) : adopt;
      try {
        await this.#take(step);
        isAdopted = true;
        if (step.kind === "forget") return;
      } catch (error) {
        this.#services.logger.error(
          { err: error, process: this.processId, step: step.kind },
          "step failed",
        );
        await this.#waker.wait(RETRY_MS);
      }
    }
  }

  /** Ends the loop after the step that it is at, and leaves the container alone. */
  detach(): void {
    this.#isDetached = true;
    this.#pull.abort();
    this.#run?.health[Symbol.dispose]();
    this.#waker.wake();
  }

  #view(): Parameters<typeof planStep>[0] {
    const { assignment, run, ended, begun } = this.#record;
    const nowMs = this.#services.start.clock();
    return {
      wanted: this.#isAssigned ? assignment.desired : "gone",
      isRunning: this.#run !== undefined,
      isOver: this.#isOver,
      isOutdated: run !== undefined && !isDeepStrictEqual(run.spec, assignment.spec),
      ended,
      hasBegun: begun,
      startDeadlineMs: Date.parse(assignment.startDeadline),
      retryAtMs: endOfPause(this.#retryPause, nowMs),
      nowMs,
    };
  }

  async #take(step: Step | typeof adopt): Promise<void> {
    switch (step.kind) {
      case "adopt":
        return await this.#adopt();
      case "start":
        return await this.#start();
      case "stop":
        return await this.#stop();
      case "settle":
        return await this.#settle();
      case "finish":
        return await this.#finish("stopped");
      case "forget":
        await this.#release("stopped");
        await removeTree(this.#paths.folder, this.#paths.run);
        return this.#services.onForgotten(this.processId);
      case "expire":
        return await this.#fail("START_DEADLINE_PASSED", "the start deadline has passed");
      case "wait":
        return await this.#waker.wait(step.ms);
      case "rest":
        return await this.#waker.wait();
      default:
        return step satisfies never;
    }
  }

  async #start(): Promise<void> {
    try {
      const image = await this.#pullImage();
      this.#setActivity("starting");
      await this.#services.starts(async () => {
        // While it waited for the image or its turn, it may have become unwanted.
        const isWanted = planStep(this.#view()).kind === "start" && !this.#isDetached;
        if (isWanted) await this.#launch(image);
      });
    } catch (error) {
      if (!this.#pull.signal.aborted) await this.#startFailed(error);
    } finally {
      this.#activity = undefined;
    }
  }

  async #pullImage(): Promise<RunnableImage> {
    this.#pull = new AbortController();
    this.#setActivity("pulling");
    const { image } = this.#record.assignment.spec;
    return await this.#services.images.ensure(image, { signal: this.#pull.signal });
  }

  async #launch(image: RunnableImage): Promise<void> {
    const { start, resources, network, config } = this.#services;
    const { processId } = this;
    const { spec } = this.#record.assignment;
    const plan = planRun(spec, image.config, { hostname: processId });
    const holding = await resources.claim(processId, plan.ports, this.#record);
    const place = network.place(holding.slot);
    const before = this.publishedPorts;
    this.#record = {
      ...this.#record,
      slot: holding.slot,
      ports: [...holding.ports],
      begun: true,
      ended: undefined,
      run: this.#newRun(plan),
    };
    // Nothing is started that another life of the agent would not know.
    this.#write();
    // A port that it lost meanwhile is somebody else's now.
    const kept = new Set(holding.ports.map(portKey));
    await network.withdraw(before.filter((port) => !kept.has(portKey(port))));
    const idBase = config.idBase + holding.slot * ID_RANGE_SIZE;
    const request = { processId, plan, image, limits: spec.limits, idBase, place };
    const supervisor = launch(start, request, this.#paths);
    const [application] = await Promise.all([
      waitUntilRunning(start, { processId, supervisor }, this.#paths),
      network.publish(this.publishedPorts),
    ]);
    this.#watch(supervisor, application);
  }

  #newRun({ stopSignal }: RunPlan): RunRecord {
    return { bootId: this.#services.bootId, stopSignal, spec: this.#record.assignment.spec };
  }

  /** From here on the process runs. */
  #watch(supervisor: Supervisor, application: ProcessIdentity | "ended"): void {
    const { clock } = this.#services.start;
    const { run, lastExit, restarts } = this.#record;
    if (run === undefined) throw new Error("a run without a record");
    const known = application === "ended" ? undefined : application;
    this.#save({
      run: { ...run, startedAtMs: run.startedAtMs ?? clock(), application: known },
      restarts: restarts + (lastExit === undefined || run.startedAtMs !== undefined ? 0 : 1),
      problem: undefined,
    });
    this.#enter(supervisor, known);
    this.#activity = undefined;
    this.#services.onChange("now");
  }

  #enter(supervisor: Supervisor, application: ProcessIdentity | undefined): void {
    const { network, probe, onChange } = this.#services;
    this.#isOver = false;
    const run: ActiveRun = {
      supervisor,
      application,
      health: watchHealth(
        {
          address: network.place(this.#record.slot ?? 0).address,
          probe: this.#record.assignment.spec.health,
        },
        { ask: probe, onChange: () => onChange("now") },
      ),
    };
    this.#run = run;
    const watch = setInterval(() => this.#endIfOrphaned(run), ORPHANS_MS);
    void supervisor.gone.then(() => {
      clearInterval(watch);
      if (this.#run === run) this.#isOver = true;
      this.#waker.wake();
    });
  }

  /** A container lives as long as its application: when the first process of it ends, so does the rest. */
  #endIfOrphaned({ application }: ActiveRun): void {
    const isAlone = application === undefined || !isAlive(application);
    if (isAlone && !this.#isDetached) endOrphans(this.#services.start.cgroups, this.processId);
  }

  async #startFailed(error: unknown): Promise<void> {
    const code = getErrorCode(error) ?? "START_FAILED";
    const message = error instanceof Error ? error.message : String(error);
    const { clock } = this.#services.start;
    this.#services.logger.warn({ err: error, process: this.processId }, "start failed");
    const hadRun = this.#record.run !== undefined;
    if (hadRun) await this.#cleanUp();
    if (permanentCodes.includes(code) || (!hadRun && isPermanent(error))) {
      return await this.#fail(code, message);
    }
    // Without a run nothing has crashed: the image, an address or a port was not to be had yet.
    const restart = hadRun ? planRestart(this.#record.crashes, 0) : undefined;
    this.#retryPause = { fromMs: clock(), ms: restart?.delayMs ?? RETRY_MS };
    this.#save({
      run: undefined,
      problem: { code, message },
      ...(restart && { crashes: restart.history }),
    });
    return this.#services.onChange("now");
  }

  async #stop(): Promise<void> {
    const { start } = this.#services;
    const run = this.#run;
    if (run === undefined) return;
    this.#setActivity("draining");
    run.health[Symbol.dispose]();
    const endedByItself = await stopContainer(start.cgroups, {
      processId: this.processId,
      supervisor: run.supervisor,
      application: run.application,
      stopSignal: this.#record.run?.stopSignal ?? 15,
      graceMs: this.#record.assignment.spec.stopGraceMs,
    });
    const lastExit = this.#readExit({ wasKilled: !endedByItself });
    await this.#cleanUp();
    // It stays "draining" until the next step says what it is.
    this.#save({ run: undefined, lastExit, problem: undefined });
  }

  /** The container ended without being told to. */
  async #settle(): Promise<void> {
    const { clock } = this.#services.start;
    const lastExit = this.#readExit({ wasKilled: false });
    const ranMs = clock() - (this.#record.run?.startedAtMs ?? clock());
    const { history, delayMs } = planRestart(this.#record.crashes, ranMs);
    await this.#cleanUp();
    this.#retryPause = { fromMs: clock(), ms: delayMs };
    const message = `ended with ${lastExit.code} (${lastExit.reason}), starts again in ${delayMs / 1000} s`;
    this.#save({
      run: undefined,
      lastExit,
      crashes: history,
      problem: { code: "CRASHED", message },
    });
    this.#services.onChange("now");
  }

  #readExit({ wasKilled }: { readonly wasKilled: boolean }): Exit {
    const { cgroups, clock } = this.#services.start;
    return describeExit({
      code: readExitCode(this.#paths),
      hitMemoryLimit: cgroups.wasOutOfMemory(this.processId),
      wasKilled,
      atMs: clock(),
    });
  }

  /** Leaves nothing of a run but its record and its log. */
  async #cleanUp(): Promise<void> {
    this.#run?.health[Symbol.dispose]();
    this.#run = undefined;
    this.#isOver = false;
    const isSwept = await sweepRun(this.#services.start.cgroups, this.processId);
    if (!isSwept) throw new Error("processes of the container cannot be killed");
    await removeTree(this.#paths.run, this.#paths.scratch);
  }

  async #finish(ended: "stopped" | "failed"): Promise<void> {
    await this.#release(ended);
    this.#activity = undefined;
    this.#save({});
    this.#services.onChange("now");
  }

  /** Gives back what the process held. Writes nothing, so that a full disk keeps nothing from being forgotten. */
  async #release(ended: "stopped" | "failed"): Promise<void> {
    const { network, resources } = this.#services;
    // A run that never came to be watched, or whose clean-up failed.
    if (this.#record.run !== undefined) await this.#cleanUp();
    await network.withdraw(this.publishedPorts);
    resources.release(this.processId);
    this.#record = { ...this.#record, ended, slot: undefined, run: undefined };
  }

  async #fail(code: string, message: string): Promise<void> {
    this.#save({ problem: { code, message } });
    await this.#finish("failed");
  }

  /** Takes over a container that runs under another life of the agent, without waiting, so that the first report
   * already says so. */
  #recognizeRun(): void {
    const { run } = this.#record;
    if (run?.application === undefined || run.bootId !== this.#services.bootId) return;
    const supervisor = this.#findSupervisor();
    if (supervisor !== undefined && isAlive(run.application))
      this.#enter(supervisor, run.application);
  }

  /** Takes over a run that was just starting, or learns how one ended meanwhile. */
  async #adopt(): Promise<void> {
    const { start, bootId, network } = this.#services;
    const supervisor = this.#record.run?.bootId === bootId ? this.#findSupervisor() : undefined;
    try {
      if (supervisor === undefined) return await this.#settle();
      const application = await waitUntilRunning(
        start,
        { processId: this.processId, supervisor },
        this.#paths,
      );
      await network.publish(this.publishedPorts);
      this.#watch(supervisor, application);
    } catch (error) {
      await this.#startFailed(error);
    }
  }

  #findSupervisor(): Supervisor | undefined {
    return adoptSupervisor(this.#paths, this.#services.start.cgroups, this.processId);
  }

  /** What the node's ports lead to, as long as the process holds them. */
  get publishedPorts(): readonly PublishedPort[] {
    const { slot, ports } = this.#record;
    if (slot === undefined) return [];
    const { address } = this.#services.network.place(slot);
    return ports.map(({ protocol, hostPort, containerPort }) => ({
      protocol,
      hostPort,
      address,
      containerPort,
    }));
  }

  #setActivity(activity: Activity): void {
    this.#activity = activity;
    this.#services.onChange("soon");
  }

  /** A disk that is full must not keep a container from being stopped: what cannot be written now is written with the
   * next change, and until then another life of the agent finds out by itself. */
  #save(change: Partial<ProcessRecord>): void {
    this.#record = { ...this.#record, ...change };
    try {
      this.#write();
    } catch (error) {
      const { logger } = this.#services;
      logger.error({ err: error, process: this.processId }, "the record could not be written");
    }
  }

  #write(): void {
    mkdirSync(this.#paths.folder, { recursive: true, mode: 0o700 });
    replaceFile(this.#paths.record, JSON.stringify(this.#record));
  }
}

function isPermanent(error: unknown): boolean {
  return error instanceof CodedError && !error.retryable;
}
