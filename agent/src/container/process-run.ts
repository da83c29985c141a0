import type { Exit } from "@strata/protocol/agent/messages";

import { ID_RANGE_SIZE } from "../config.ts";
import { isAlive, type ProcessIdentity } from "../host/process-table.ts";
import type { LocalContainer } from "../network/view.ts";
import type { ProcessPaths } from "../paths.ts";
import { discardTrees } from "../rootfs/discard.ts";
import { prepareContents } from "./contents.ts";
import { findApplication } from "./find-application.ts";
import type { HealthState } from "./health-state.ts";
import { type HealthWatch, watchHealth } from "./health.ts";
import type { RunnableImage } from "./image-source.ts";
import { watchLife } from "./life-watch.ts";
import { planProbes } from "./probe-plan.ts";
import type { ProcessServices } from "./process-services.ts";
import type { RecordKeeper } from "./record-keeper.ts";
import { chooseGraceMs, chooseStopSignal, noteExit, noteKill } from "./run-end.ts";
import { describeShortfall, resizeRun } from "./run-limits.ts";
import { planRun } from "./run-plan.ts";
import type { SecretValues } from "./secret-keeper.ts";
import { endStart, launch, throwSupervisorError, waitUntilRunning } from "./start.ts";
import { endOrphans, stopContainer, sweepRun } from "./stop.ts";
import { adoptSupervisor, readExitCode, type Supervisor } from "./supervisor.ts";
import { raiseFences } from "./volume-fences.ts";

/** A container that this agent watches. */
type WatchedRun = {
  readonly supervisor: Supervisor;
  /** Undefined when it ended faster than we looked. Another one after the reboot of a system container. */
  application: ProcessIdentity | undefined;
  readonly health: HealthWatch;
};

export type ProcessRunOptions = {
  readonly services: ProcessServices;
  readonly keeper: RecordKeeper;
  readonly paths: ProcessPaths;
  /** The container is running, or its end was seen, or is due by its probes. */
  readonly onBegun: () => void;
  readonly onOver: () => void;
  readonly onReady: () => void;
};

/** The container of one process: made or taken over, watched, stopped, swept away. Each call is one step; which one is
 * next is the caller's decision. */
export class ProcessRun {
  readonly #options: ProcessRunOptions;
  readonly #processId: string;
  #isDetached = false;
  #watched: WatchedRun | undefined;
  #isOver = false;

  /** A container that another life of the agent left running is watched from the start, so that the first report already
   * says so. */
  constructor(options: ProcessRunOptions) {
    this.#options = options;
    this.#processId = options.keeper.record.assignment.processId;
    this.#recognize();
  }

  get isRunning(): boolean {
    return this.#watched !== undefined;
  }

  /** The container that we watched has ended. */
  get isOver(): boolean {
    return this.#isOver;
  }

  get isReady(): boolean {
    return this.#watched?.health.state().isReady ?? false;
  }

  /** What its probes have against it. */
  get complaint(): string | undefined {
    return this.#watched?.health.state().reason;
  }

  get application(): ProcessIdentity | undefined {
    return this.#watched?.application;
  }

  /** What it is in the node's network, as long as it holds a place there. */
  get container(): LocalContainer | undefined {
    const { slot, ports, assignment, run } = this.#options.keeper.record;
    if (slot === undefined) return undefined;
    const { tenant, subscription: alias } = run?.spec ?? assignment.spec;
    return { slot, tenant, alias, ports };
  }

  /** Resolves when the application runs, or has ended already.
   * @throws AgentError of the start; what there is of the run is left to `cleanUp`. */
  async launch(image: RunnableImage, secrets: SecretValues): Promise<void> {
    const { services, keeper, paths } = this.#options;
    const { start, resources, network, config, bootId } = services;
    const processId = this.#processId;
    const { spec } = keeper.record.assignment;
    const plan = planRun(spec, image.config, { hostname: processId });
    const { volumes } = start.paths;
    raiseFences(start.paths, spec.tenant, keeper.record.assignment.volumeFences);
    const contents = prepareContents({ spec, mounts: plan.mounts, secrets, volumes });
    const holding = await resources.claim(processId, plan.ports, keeper.record);
    const place = network.place(holding.slot);
    // Nothing is started that another life of the agent would not know.
    keeper.write({
      slot: holding.slot,
      ports: [...holding.ports],
      begun: true,
      ended: undefined,
      run: {
        bootId,
        stopSignal: plan.stopSignal,
        isSystem: plan.isSystem,
        spec,
        probes: planProbes(spec, image.config.config),
      },
    });
    const admitted = this.#admit();
    // Awaited by `launch`, unless that fails before.
    admitted.catch(() => undefined);
    const idBase = config.idBase + holding.slot * ID_RANGE_SIZE;
    const { tenant, limits } = spec;
    const request = { processId, tenant, plan, image, limits, idBase, place, contents, admitted };
    const supervisor = await launch(start, request, paths);
    const application = await waitUntilRunning(
      start,
      { processId, supervisor, isSystem: plan.isSystem },
      paths,
    );
    await this.#begin(supervisor, application);
  }

  /** Takes over a run of another life of the agent that was just starting. When it is gone, says whether there is an
   * end to tell of, or its start went no further than the agent itself.
   * @throws AgentError of the start; what there is of the run is left to `cleanUp`. */
  async takeOver(): Promise<"running" | "ended" | "interrupted"> {
    const { services, keeper, paths } = this.#options;
    const supervisor = this.#findSupervisor();
    if (supervisor === undefined) {
      const { startedAtMs, exit } = keeper.record.run ?? {};
      const hasEnded = exit !== undefined || readExitCode(paths) !== undefined;
      if (startedAtMs !== undefined || hasEnded) return "ended";
      throwSupervisorError(paths);
      return "interrupted";
    }
    const run = { processId: this.#processId, supervisor, isSystem: this.#isSystem };
    const application = await waitUntilRunning(services.start, run, paths);
    await this.#admit();
    await this.#begin(supervisor, application);
    return "running";
  }

  async #admit(): Promise<void> {
    const { container } = this;
    if (container === undefined) return;
    const { network, names } = this.#options.services;
    await network.admit(this.#processId, container);
    names.changed();
  }

  /** Gives the container the limits of its assignment. False when it keeps those that it has; the record says why. */
  async resize(): Promise<boolean> {
    return await resizeRun(this.#options);
  }

  /** Noted first: another life of the agent thaws what this one froze, and nothing else. */
  freeze(): void {
    const { services, keeper } = this.#options;
    const { run } = keeper.record;
    if (run !== undefined) keeper.save({ run: { ...run, isFrozen: true } });
    if (!services.start.cgroups.freeze(this.#processId))
      services.logger.warn({ process: this.#processId }, "this host cannot freeze: it goes on");
  }

  /** In memory alone: to write it down is the caller's. */
  thaw(): void {
    const { services, keeper } = this.#options;
    const { run } = keeper.record;
    services.start.cgroups.thaw(this.#processId);
    if (run !== undefined) keeper.note({ run: { ...run, isFrozen: undefined } });
  }

  /** Ends the container and says how it ended; undefined when none runs. */
  async stop(): Promise<Exit | undefined> {
    const { services, keeper } = this.#options;
    const watched = this.#watched;
    if (watched === undefined) return undefined;
    watched.health[Symbol.dispose]();
    await stopContainer(services.start.cgroups, {
      processId: this.#processId,
      supervisor: watched.supervisor,
      application: watched.application,
      stopSignal: chooseStopSignal(keeper.record, watched.application),
      graceMs: () => chooseGraceMs(keeper.record),
      // On disk before it is done: another life of the agent may have to tell the end.
      onKill: () => noteKill(keeper),
    });
    return this.noteExit();
  }

  /** How the run ended, whoever ended it. */
  noteExit(): Exit {
    return noteExit(this.#options);
  }

  /** Leaves nothing of a run but its record and its log. */
  async cleanUp(): Promise<void> {
    const { services, paths } = this.#options;
    this.#watched?.health[Symbol.dispose]();
    this.#watched = undefined;
    this.#isOver = false;
    const isSwept = await sweepRun(services.start.cgroups, this.#processId);
    if (!isSwept) throw new Error("processes of the container cannot be killed");
    const { runs, processes } = services.start.paths;
    await discardTrees({ path: paths.run, bin: runs }, { path: paths.scratch, bin: processes });
  }

  /** Gives back what the process held. Writes nothing, so that a full disk keeps nothing from being forgotten. */
  async release(): Promise<void> {
    const { services, keeper } = this.#options;
    // A run that never came to be watched, or whose clean-up failed.
    if (keeper.record.run !== undefined) await this.cleanUp();
    await services.network.dismiss(this.#processId);
    services.resources.release(this.#processId);
    keeper.note({ slot: undefined, run: undefined });
  }

  /** Leaves the container alone from now on. */
  detach(): void {
    this.#isDetached = true;
    this.#watched?.health[Symbol.dispose]();
  }

  #recognize(): void {
    const application = this.#options.keeper.record.run?.application;
    if (application === undefined) return;
    const supervisor = this.#findSupervisor();
    if (supervisor !== undefined && isAlive(application)) this.#watch(supervisor, application);
  }

  /** Undefined when it is gone; after a reboot nothing of the run is trusted. */
  #findSupervisor(): Supervisor | undefined {
    const { services, keeper, paths } = this.#options;
    if (keeper.record.run?.bootId !== services.bootId) return undefined;
    return adoptSupervisor(paths, services.start.cgroups, this.#processId);
  }

  /** From here on the process runs. */
  async #begin(supervisor: Supervisor, application: ProcessIdentity | "ended"): Promise<void> {
    const { services, keeper, onBegun } = this.#options;
    const { run, lastExit, restarts } = keeper.record;
    if (run === undefined) throw new Error("a run without a record");
    const { limits } = run.spec;
    // Before the record says that it runs: another life of the agent would not do it then.
    await endStart(services.start, { processId: this.#processId, limits });
    const known = application === "ended" ? undefined : application;
    keeper.save({
      run: {
        ...run,
        startedAtMs: run.startedAtMs ?? services.start.clock(),
        application: known,
      },
      restarts: restarts + (lastExit === undefined || run.startedAtMs !== undefined ? 0 : 1),
      problem: describeShortfall(services.start.cgroups, run.spec.limits),
    });
    this.#watch(supervisor, known);
    onBegun();
  }

  #watch(supervisor: Supervisor, application: ProcessIdentity | undefined): void {
    const { onOver } = this.#options;
    this.#isOver = false;
    const watched: WatchedRun = {
      supervisor,
      application,
      health: this.#watchHealth(),
    };
    this.#watched = watched;
    const stopLooking = watchLife({
      process: () => watched.application,
      onGone: () => this.#endIfOrphaned(watched),
    });
    void supervisor.gone.then(() => {
      stopLooking();
      if (this.#watched === watched) this.#isOver = true;
      onOver();
    });
  }

  #watchHealth(): HealthWatch {
    const { services, keeper } = this.#options;
    const { slot, assignment, run } = keeper.record;
    const { address } = services.network.place(slot ?? 0);
    return watchHealth(run?.probes ?? planProbes(assignment.spec, undefined), {
      ask: services.ask({ processId: this.#processId, address }),
      wasStarted: run?.isStarted ?? false,
      wasReady: run?.isFrozen ?? false,
      onChange: (state) => this.#noteHealth(state),
    });
  }

  /** On disk, for another life of the agent would not ask a startup probe again, and ends what is to be ended. */
  #noteHealth({ isStarted, isReady, failing }: HealthState): void {
    const { services, keeper, onOver, onReady } = this.#options;
    const { run } = keeper.record;
    if (run === undefined) return;
    const isNew = run.probes?.startup !== undefined && isStarted && run.isStarted !== true;
    if (isNew) keeper.save({ run: { ...run, isStarted } });
    if (failing !== undefined) {
      keeper.save({ run: { ...run, failing } });
      onOver();
    }
    if (isReady) onReady();
    services.onChange("now");
  }

  /** A container lives as long as its application: when the first process of it ends, so does the rest. */
  #endIfOrphaned(watched: WatchedRun): void {
    const { application } = watched;
    const isAlone = application === undefined || !isAlive(application);
    if (!isAlone || this.#isDetached) return;
    const { cgroups } = this.#options.services.start;
    if (this.#isSystem) this.#noteRebooted(watched);
    else endOrphans(cgroups, this.#processId);
  }

  get #isSystem(): boolean {
    return this.#options.keeper.record.run?.isSystem ?? false;
  }

  /** A system container that rebooted has another init; LXC started it in the same place. */
  #noteRebooted(watched: WatchedRun): void {
    const { services, keeper } = this.#options;
    const wanted = { processId: this.#processId, isSystem: true };
    const found = findApplication(services.start.cgroups, wanted);
    const { run } = keeper.record;
    if (typeof found === "string" || run === undefined) return;
    watched.application = found;
    keeper.save({ run: { ...run, application: found } });
    services.onChange("now");
  }
}
