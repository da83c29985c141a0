import { readdirSync } from "node:fs";
import { join } from "node:path";

import type { Assignment, ProcessReport } from "@strata/protocol/agent/messages";
import type { VolumeName } from "@strata/protocol/agent/volumes";
import type { Digest } from "@strata/protocol/oci/digest";
import type { Logger } from "pino";

import { openCgroups } from "./cgroup/open-cgroups.ts";
import type { Clock } from "./clock.ts";
import type { AgentConfig } from "./config.ts";
import { createAsk } from "./container/ask.ts";
import type { ImageSource } from "./container/image-source.ts";
import { createLogKeeper } from "./container/log-keeper.ts";
import { ManagedProcess } from "./container/managed-process.ts";
import { createSampler, readUptimeMs, type Sampler } from "./container/metrics.ts";
import { describeProcess } from "./container/process-report.ts";
import type { ProcessServices } from "./container/process-services.ts";
import { listRecords, newRecord, type ProcessRecord } from "./container/record.ts";
import { createResources, type Holding } from "./container/resources.ts";
import { createSecretKeeper, type SecretSource } from "./container/secret-keeper.ts";
import { createSpanLog } from "./container/span-log.ts";
import type { StartContext } from "./container/start.ts";
import { sweepRun } from "./container/stop.ts";
import { createWaker } from "./container/waker.ts";
import { AgentError } from "./errors.ts";
import { raiseKernelLimits } from "./host/kernel-limits.ts";
import { readKernelBootId } from "./host/process-table.ts";
import { createSemaphore } from "./image/semaphore.ts";
import { createNetwork } from "./network/network.ts";
import { agentPaths } from "./paths.ts";
import { prepareFolders } from "./prepare-folders.ts";
import { chooseMountFolder } from "./rootfs/mount-folder.ts";
import { removeTree } from "./rootfs/remove-tree.ts";

export type RuntimeOptions = {
  readonly config: AgentConfig;
  /** Names this agent among others on the machine, in its cgroups and its LXC sockets: a label of RFC 1123. */
  readonly agentKey: string;
  readonly images: ImageSource;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Left out, no process that needs a secret can start. */
  readonly secrets?: SecretSource;
  /** The reports changed: `now` when somebody waits for it, `soon` when it may be gathered with others. */
  readonly onChange: (urgency: "now" | "soon") => void;
};

/** How often logs are trimmed by size and by age, and the network is looked after. */
const TRIM_MS = 500;
const AGE_MS = 60_000;
const NETWORK_CHECK_MS = 30_000;
/** Commands of health probes at once. */
const PROBE_COMMANDS_MAX = 4;

/** All processes of this node. */
export class Runtime {
  readonly #options: RuntimeOptions;
  readonly #services: ProcessServices;
  readonly #processes = new Map<string, ManagedProcess>();
  readonly #loops = new Map<string, Promise<void>>();
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #changes = createWaker();
  readonly #sampler: Sampler;
  #assigned: readonly Assignment[] = [];

  private constructor(options: RuntimeOptions, records: readonly ProcessRecord[]) {
    this.#options = options;
    this.#services = createServices(options, records, {
      onForgotten: (processId) => this.#forget(processId),
      onChange: (urgency) => {
        this.#changes.wake();
        options.onChange(urgency);
      },
    });
    this.#sampler = createSampler(this.#services.start.cgroups);
  }

  /** Prepares the host and takes over what an earlier life of the agent left running. Nothing else happens until
   * `assign` says what is still wanted.
   * @throws AgentError HOST_UNFIT */
  static async open(options: RuntimeOptions): Promise<Runtime> {
    const paths = agentPaths(options.config);
    prepareFolders(paths);
    const tooLow = raiseKernelLimits();
    if (tooLow.length > 0) options.logger.warn({ tooLow }, "limits of the kernel cannot be raised");
    const records = listRecords(paths, options.logger);
    const runtime = new Runtime(options, records);
    for (const record of records) runtime.#add(record);
    await runtime.#setUpNetwork();
    await runtime.#sweep();
    const logs = createLogKeeper(options.config, options.clock);
    runtime.#every(TRIM_MS, () => logs.trim(runtime.#processes.keys()));
    runtime.#every(AGE_MS, () => logs.age(runtime.#processes.keys()));
    runtime.#every(NETWORK_CHECK_MS, () => runtime.#healNetwork());
    return runtime;
  }

  /** The complete list of what this node shall run. Safe to repeat. */
  assign(assignments: readonly Assignment[]): void {
    this.#assigned = assignments;
    this.#services.secrets.retain(assignments.map(({ spec }) => spec));
    const ids = new Set(assignments.map(({ processId }) => processId));
    for (const assignment of assignments) {
      const known = this.#processes.get(assignment.processId) ?? this.#add(newRecord(assignment));
      known.assign(assignment);
    }
    for (const [processId, known] of this.#processes) {
      if (!ids.has(processId)) known.assign(undefined);
    }
    for (const known of this.#processes.values()) this.#drive(known);
  }

  /** Every process that this node holds, with what it uses right now. */
  report(): readonly ProcessReport[] {
    const { network } = this.#services;
    const traffic = network.readTraffic();
    const uptimeMs = readUptimeMs();
    return [...this.#processes.values()].map(({ processId, snapshot }) => {
      const { record, isRunning, application } = snapshot;
      const { slot, assignment } = record;
      if (!isRunning) this.#sampler.forget(processId);
      return describeProcess(snapshot, {
        place: slot === undefined ? undefined : network.place(slot),
        metrics: isRunning
          ? this.#sampler.read(processId, {
              traffic: slot === undefined ? undefined : traffic.get(slot),
              uptimeMs,
              pid: application?.pid,
              ports: assignment.spec.ports.flatMap(({ protocol, containerPort }) =>
                protocol === "tcp" ? [containerPort] : [],
              ),
            })
          : undefined,
      });
    });
  }

  /** Images that run, start, or are to. */
  imagesInUse(): ReadonlySet<Digest> {
    const records = [...this.#processes.values()].map(({ snapshot }) => snapshot.record);
    return new Set(
      records.flatMap(({ assignment, run, ended }) => [
        ...(ended === undefined ? [assignment.spec.image.digest] : []),
        ...(run === undefined ? [] : [run.spec.image.digest]),
      ]),
    );
  }

  /** Whether a process has the named volume, or may start with it. */
  usesVolume({ tenant, name }: VolumeName): boolean {
    return [...this.#processes.values()].some(({ snapshot: { record } }) => {
      const { assignment, run, ended } = record;
      const specs = [...(ended === undefined ? [assignment.spec] : []), ...(run ? [run.spec] : [])];
      return specs.some(
        (spec) =>
          spec.tenant === tenant &&
          (spec.volumes ?? []).some((volume) => volume.kind === "named" && volume.name === name),
      );
    });
  }

  /** Undefined when the node holds no such process. */
  getProcess(processId: string): ManagedProcess | undefined {
    return this.#processes.get(processId);
  }

  /** What streams need of the parts below. */
  get services(): ProcessServices {
    return this.#services;
  }

  /** Stops every process, and resolves when all have ended. What is assigned starts again with the next life. */
  async stopAll(): Promise<void> {
    for (const known of this.#processes.values()) {
      known.assign({ ...known.snapshot.record.assignment, desired: "stopped" });
      this.#drive(known);
    }
    while (
      [...this.#processes.values()].some(({ snapshot }) => snapshot.record.ended === undefined)
    ) {
      await this.#changes.wait();
    }
  }

  /** Stops every process and forgets it: the node is no more. */
  async giveUpAll(): Promise<void> {
    this.assign([]);
    while (this.#processes.size > 0) await this.#changes.wait();
  }

  /** Removes all that the agent made on the host outside its data folder. Nothing may run. */
  async tearDown(): Promise<void> {
    this.#clearTimers();
    await this.#sweep();
    await this.#services.network.tearDown();
    this.#services.start.cgroups.removeOwn();
    await removeTree(agentPaths(this.#options.config).run);
  }

  /** Lets go of everything and stops nothing. */
  async close(): Promise<void> {
    this.#clearTimers();
    for (const known of this.#processes.values()) known.detach();
    await Promise.all(this.#loops.values());
  }

  #clearTimers(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  #add(record: ProcessRecord): ManagedProcess {
    const known = new ManagedProcess(this.#services, record);
    this.#processes.set(known.processId, known);
    return known;
  }

  #drive(known: ManagedProcess): void {
    const { processId } = known;
    if (this.#loops.has(processId)) return;
    const loop = known.drive().finally(() => this.#loops.delete(processId));
    this.#loops.set(processId, loop);
  }

  /** A process that was assigned again while it was being forgotten begins anew. */
  #forget(processId: string): void {
    this.#processes.delete(processId);
    this.#sampler.forget(processId);
    this.#services.onChange("now");
    const again = this.#assigned.find((assignment) => assignment.processId === processId);
    if (again === undefined) return;
    const loop = this.#loops.get(processId);
    void loop?.then(() => this.#drive(this.#add(newRecord(again))));
  }

  async #setUpNetwork(): Promise<void> {
    const ports = [...this.#processes.values()].flatMap((known) => known.publishedPorts);
    await this.#services.network.setUp(ports);
  }

  async #healNetwork(): Promise<void> {
    if (await this.#services.network.isUp()) return;
    this.#options.logger.warn("bridge or nft table is gone: making them again");
    await this.#setUpNetwork();
  }

  /** Removes cgroups, and with them processes, and folders that no record speaks of: only ever this agent's own. */
  async #sweep(): Promise<void> {
    const { cgroups, paths } = this.#services.start;
    const isUnknown = (processId: string): boolean => !this.#processes.has(processId);
    for (const processId of cgroups.listProcessIds().filter(isUnknown)) {
      await sweepRun(cgroups, processId);
    }
    for (const parent of [paths.processes, paths.runs]) {
      const unknown = readdirSync(parent).filter(isUnknown);
      await removeTree(...unknown.map((name) => join(parent, name)));
    }
  }

  /** One run at a time; an error is logged and the next run tries again. */
  #every(ms: number, work: () => Promise<void>): void {
    let isBusy = false;
    const timer = setInterval(() => {
      if (isBusy) return;
      isBusy = true;
      work()
        .catch((error: unknown) =>
          this.#options.logger.error({ err: error }, "housekeeping failed"),
        )
        .finally(() => (isBusy = false));
    }, ms);
    timer.unref();
    this.#timers.push(timer);
  }
}

const refuseSecrets: SecretSource = () =>
  Promise.reject(new AgentError("NOT_JOINED", "this agent has no controller"));

function createServices(
  options: RuntimeOptions,
  records: readonly ProcessRecord[],
  events: Pick<ProcessServices, "onChange" | "onForgotten">,
): ProcessServices {
  const { config, agentKey, images, clock, logger } = options;
  const { secrets = refuseSecrets } = options;
  const paths = agentPaths(config);
  const mountFolder = chooseMountFolder([config.dataDirectory, config.runDirectory]);
  const held = new Map(
    records.flatMap(({ assignment, slot, ports }): [string, Holding][] =>
      slot === undefined ? [] : [[assignment.processId, { slot, ports }]],
    ),
  );
  const start: StartContext = {
    cgroups: openCgroups(agentKey, { dataFolder: config.dataDirectory }),
    clock,
    paths,
    mountFolder,
    lxcPath: `${mountFolder}/lxc-${agentKey}`,
    startTimeoutMs: config.startTimeoutMs,
  };
  return {
    config,
    start,
    images,
    network: createNetwork(config),
    resources: createResources(config, held),
    starts: createSemaphore(config.startsMax),
    ask: createAsk(start, createSemaphore(PROBE_COMMANDS_MAX)),
    secrets: createSecretKeeper({ source: secrets, folder: paths.secrets }),
    logger,
    bootId: readKernelBootId(),
    spans: createSpanLog(() => performance.now()),
    ...events,
  };
}
