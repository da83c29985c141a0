import { isDeepStrictEqual } from "node:util";

import type { Assignment, Exit } from "@strata/protocol/agent/messages";

import type { ProcessIdentity } from "../host/process-table.ts";
import type { LocalContainer } from "../network/view.ts";
import { type ProcessPaths, processPaths } from "../paths.ts";
import { discardTrees } from "../rootfs/discard.ts";
import { describeCrash, endOfPause, type Pause, planRestart } from "./crash-policy.ts";
import type { RunnableImage } from "./image-source.ts";
import { planStep, type Step } from "./plan-step.ts";
import { ProcessRun } from "./process-run.ts";
import type { ProcessServices } from "./process-services.ts";
import { RecordKeeper } from "./record-keeper.ts";
import type { ProcessRecord } from "./record.ts";
import { judgeStartFailure } from "./start-failure.ts";
import { createWaker } from "./waker.ts";

/** What the agent does for a process right now, where its record does not say. */
export type Activity = "pulling" | "starting" | "draining";

export type ProcessSnapshot = {
  readonly record: ProcessRecord;
  readonly activity: Activity | undefined;
  readonly application: ProcessIdentity | undefined;
  readonly isRunning: boolean;
  readonly isReady: boolean;
  /** What its probes have against it. */
  readonly complaint: string | undefined;
};

/** The first step with a container that another life of the agent started. */
const adopt = { kind: "adopt" } as const;
/** After a step that failed for no reason of the process: a tool, a disk. */
const STEP_RETRY_MS = 10_000;
/** What a request that waits must not wait for. */
const KEPT_AFTER_MS = 100;
/** After limits that are below what the process uses. */
const RESIZE_RETRY_MS = 10_000;

/** One process of this node: its record, its container, and a loop that takes one step at a time towards what is
 * assigned. All steps of one process are in order; different processes do not wait for each other. */
export class ManagedProcess {
  readonly processId: string;
  readonly #services: ProcessServices;
  readonly #paths: ProcessPaths;
  readonly #keeper: RecordKeeper;
  readonly #run: ProcessRun;
  readonly #waker = createWaker();
  #isAssigned = true;
  #isDetached = false;
  #activity: Activity | undefined;
  #retryPause: Pause | undefined;
  /** It was woken, and its record does not say so yet. */
  #unsaved: NodeJS.Timeout | undefined;
  #pull = new AbortController();

  /** The record is a new one, or what another life of the agent left. Nothing happens until `drive`. */
  constructor(services: ProcessServices, record: ProcessRecord) {
    this.processId = record.assignment.processId;
    this.#services = services;
    this.#paths = processPaths(services.start.paths, this.processId);
    this.#keeper = new RecordKeeper(record, this.#paths, services.logger);
    this.#run = new ProcessRun({
      services,
      keeper: this.#keeper,
      paths: this.#paths,
      onBegun: () => this.#setActivity(undefined, "now"),
      onOver: () => this.#waker.wake(),
      onReady: () => this.#waker.wake(),
    });
  }

  get snapshot(): ProcessSnapshot {
    const { isRunning, isReady, complaint, application } = this.#run;
    const { record } = this.#keeper;
    return { record, activity: this.#activity, application, isRunning, isReady, complaint };
  }

  /** What it is in the node's network, as long as it holds a place there. */
  get container(): LocalContainer | undefined {
    return this.#run.container;
  }

  /** Undefined: it is no longer this node's, so it is stopped and forgotten. */
  assign(assignment: Assignment | undefined): void {
    const before = this.#keeper.record.assignment;
    this.#isAssigned = assignment !== undefined;
    if (assignment !== undefined && !isDeepStrictEqual(assignment, before)) {
      const isNew = assignment.id !== before.id;
      // What runs waits for nothing but limits that were refused; these may be others.
      if (isNew || this.#run.isRunning) this.#retryPause = undefined;
      this.#keeper.save({
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

  /** A request is there for it, or somebody works in it: what is frozen runs again at once, whatever the controller has
   * said, and it hears of that. False when it is not ready to answer. */
  wakeUp(): boolean {
    const { record } = this.#keeper;
    if (this.#run.isRunning && isToSleep(record)) {
      this.#run.thaw();
      this.#keeper.note({ wokenFence: record.assignment.fence });
      // Somebody waits for an answer: the disk and the report have their turn after that. Another life that does not know
      // of it takes the process for frozen, and thaws it at the next request once more.
      this.#unsaved ??= setTimeout(() => this.#saveWoken(), KEPT_AFTER_MS);
      this.#services.onChange("soon");
    }
    return this.#run.isReady;
  }

  #saveWoken(): void {
    if (this.#unsaved === undefined) return;
    clearTimeout(this.#unsaved);
    this.#unsaved = undefined;
    this.#keeper.save({});
  }

  /** Runs until the process is forgotten or `detach` is called. */
  async drive(): Promise<void> {
    let isAdopted = false;
    while (!this.#isDetached) {
      isAdopted ||= this.#keeper.record.run === undefined || this.#run.isRunning;
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
        await this.#waker.wait(STEP_RETRY_MS);
      }
    }
  }

  /** Ends the loop after the step that it is at, and leaves the container alone. */
  detach(): void {
    this.#isDetached = true;
    this.#saveWoken();
    this.#pull.abort();
    this.#run.detach();
    this.#waker.wake();
  }

  #view(): Parameters<typeof planStep>[0] {
    const { assignment, run, ended, begun, problem } = this.#keeper.record;
    const { limits, ...rest } = assignment.spec;
    const { limits: limitsNow, ...restNow } = run?.spec ?? assignment.spec;
    const nowMs = this.#services.start.clock();
    return {
      wanted: this.#isAssigned ? assignment.desired : "gone",
      isRunning: this.#run.isRunning,
      isOver: this.#run.isOver,
      isFailing: run?.failing !== undefined,
      isReady: this.#run.isReady,
      isFrozen: run?.isFrozen === true,
      isToSleep: isToSleep(this.#keeper.record),
      isOutdated: !isDeepStrictEqual(restNow, rest),
      // Limits that were refused and are no longer wanted are put right as well.
      isResized: problem?.code === "RESIZE_REFUSED" || !isDeepStrictEqual(limitsNow, limits),
      ended,
      isOnce: isOnce(this.#keeper.record),
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
      case "end":
        return await this.#end();
      case "resize":
        return await this.#resize();
      case "freeze":
        this.#run.freeze();
        return this.#services.onChange("now");
      case "thaw":
        this.#run.thaw();
        this.#keeper.save({});
        return this.#services.onChange("now");
      case "settle":
        return await this.#settle();
      case "finish":
        return await this.#finish("stopped");
      case "forget":
        await this.#run.release();
        // Later it would make the folder anew.
        this.#saveWoken();
        await this.#discardFolders();
        return this.#services.onForgotten(this.processId);
      case "expire":
        return await this.#fail({
          code: "START_DEADLINE_PASSED",
          message: "the start deadline has passed",
        });
      case "wait":
        return await this.#waker.wait(step.ms);
      case "rest":
        return await this.#waker.wait();
      default:
        return step satisfies never;
    }
  }

  async #discardFolders(): Promise<void> {
    const { folder, run } = this.#paths;
    const { processes, runs } = this.#services.start.paths;
    await discardTrees({ path: folder, bin: processes }, { path: run, bin: runs });
  }

  /** Takes over a run that was just starting, or learns how one ended meanwhile. */
  async #adopt(): Promise<void> {
    try {
      const found = await this.#run.takeOver();
      if (found === "ended") await this.#settle();
      if (found === "interrupted") await this.#giveUpRun();
    } catch (error) {
      await this.#startFailed(error);
    }
  }

  /** Nothing has crashed: its start is due again. */
  async #giveUpRun(): Promise<void> {
    await this.#run.cleanUp();
    this.#keeper.save({ run: undefined });
  }

  async #start(): Promise<void> {
    try {
      const image = await this.#pullImage();
      const { spec } = this.#keeper.record.assignment;
      const secrets = await this.#services.secrets.fetch(spec, this.#pull.signal);
      this.#setActivity("starting", "soon");
      await this.#services.starts(async () => {
        // While it waited for the image or its turn, it may have become unwanted.
        const isWanted = planStep(this.#view()).kind === "start" && !this.#isDetached;
        if (!isWanted) return;
        const { assignment } = this.#keeper.record;
        await this.#services.spans.measure({ assignment, name: "start container" }, () =>
          this.#run.launch(image, secrets),
        );
      });
    } catch (error) {
      if (!this.#pull.signal.aborted) await this.#startFailed(error);
    } finally {
      this.#activity = undefined;
    }
  }

  async #pullImage(): Promise<RunnableImage> {
    this.#pull = new AbortController();
    this.#setActivity("pulling", "soon");
    const { assignment } = this.#keeper.record;
    const { signal } = this.#pull;
    return await this.#services.spans.measure({ assignment, name: "pull image" }, () =>
      this.#services.images.ensure(assignment.spec.image, { signal }),
    );
  }

  async #startFailed(error: unknown): Promise<void> {
    this.#services.logger.warn({ err: error, process: this.processId }, "start failed");
    const { run, crashes } = this.#keeper.record;
    const hadRun = run !== undefined;
    if (hadRun) await this.#run.cleanUp();
    const { problem, retry } = judgeStartFailure(error, {
      hadRun,
      crashes,
      isOnce: isOnce(this.#keeper.record),
    });
    if (retry === undefined) return await this.#fail(problem);
    this.#retryPause = { fromMs: this.#services.start.clock(), ms: retry.delayMs };
    this.#keeper.save({ run: undefined, problem, crashes: retry.crashes });
    return this.#services.onChange("now");
  }

  async #resize(): Promise<void> {
    const isDone = await this.#run.resize();
    const fromMs = this.#services.start.clock();
    this.#retryPause = isDone ? undefined : { fromMs, ms: RESIZE_RETRY_MS };
    this.#services.onChange("now");
  }

  async #stop(): Promise<void> {
    this.#retryPause = undefined;
    this.#setActivity("draining", "soon");
    const lastExit = await this.#run.stop();
    if (lastExit === undefined) return;
    await this.#run.cleanUp();
    // It stays "draining" until the next step says what it is.
    this.#keeper.save({ run: undefined, lastExit, problem: undefined });
  }

  /** Its probes say that it is not well. As long as it has not ended it is said to run, for that is what it does. */
  async #end(): Promise<void> {
    const lastExit = await this.#run.stop();
    if (lastExit !== undefined) await this.#settle();
  }

  /** The container ended without a wish for that. */
  async #settle(): Promise<void> {
    const { clock } = this.#services.start;
    const { run, crashes } = this.#keeper.record;
    const lastExit = this.#run.noteExit();
    if (isOnce(this.#keeper.record)) return await this.#conclude(lastExit);
    const ranMs = clock() - (run?.startedAtMs ?? clock());
    const { history, delayMs } = planRestart(crashes, ranMs);
    await this.#run.cleanUp();
    this.#retryPause = { fromMs: clock(), ms: delayMs };
    const problem = describeCrash(lastExit, delayMs);
    this.#keeper.save({ run: undefined, lastExit, crashes: history, problem });
    this.#services.onChange("now");
  }

  /** It is not to run again. The record on disk says all of it at once: what died half-way here comes back to `settle`,
   * and never to a second start. */
  async #conclude(lastExit: Exit): Promise<void> {
    await this.#run.release();
    const { code, reason } = lastExit;
    const problem =
      code === 0 ? undefined : { code: "EXITED", message: `ended with ${code} (${reason})` };
    this.#keeper.save({ lastExit, problem, ended: code === 0 ? "stopped" : "failed" });
    this.#setActivity(undefined, "now");
  }

  async #finish(ended: "stopped" | "failed"): Promise<void> {
    await this.#run.release();
    this.#keeper.save({ ended });
    this.#setActivity(undefined, "now");
  }

  async #fail(problem: ProcessRecord["problem"]): Promise<void> {
    this.#keeper.save({ problem });
    await this.#finish("failed");
  }

  #setActivity(activity: Activity | undefined, urgency: "now" | "soon"): void {
    this.#activity = activity;
    this.#services.onChange(urgency);
  }
}

function isOnce({ assignment, run }: ProcessRecord): boolean {
  return (run?.spec ?? assignment.spec).restart === "never";
}

function isToSleep({ assignment, wokenFence }: ProcessRecord): boolean {
  return assignment.frozen === true && wokenFence !== assignment.fence;
}
