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
import { readHostResolvers } from "./names/host-resolvers.ts";
import { NameServer } from "./names/name-server.ts";
import { renderNames } from "./names/render-names.ts";
import { createNetwork } from "./network/network.ts";
import { gatewayAddress } from "./network/subnet.ts";
import { emptyView, type LocalContainer, type NetworkView } from "./network/view.ts";
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
  /** What is known of the network from the start. Left out, processes reach none of each other until `learn`. */
  readonly view?: NetworkView | undefined;
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
  #view: NetworkView;
  /** Probes answer while the host is still prepared; whoever opens it has no ear for them yet. */
  #isOpen = false;
  #assigned: readonly Assignment[] = [];

  private constructor(options: RuntimeOptions, records: readonly ProcessRecord[]) {
    this.#options = options;
    this.#view = options.view ?? emptyView;
    this.#services = createServices(options, records, {
      renderNames: () => this.#renderNames(),
      onForgotten: (processId) => this.#forget(processId),
      onChange: (urgency) => {
        this.#changes.wake();
        if (this.#isOpen) options.onChange(urgency);
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
    const { names, network } = runtime.#services;
    await network.setResolver(names.adopt());
    await runtime.#setUpNetwork();
    await runtime.#sweep();
    const logs = createLogKeeper(options.config, options.clock);
    runtime.#every(TRIM_MS, () => logs.trim(runtime.#processes.keys()));
    runtime.#every(AGE_MS, () => logs.age(runtime.#processes.keys()));
    runtime.#every(NETWORK_CHECK_MS, () => runtime.#healNetwork());
    runtime.#isOpen = true;
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

  /** What there is to reach from now on. Resolves when that holds. Safe to repeat. */
  async learn(view: NetworkView): Promise<void> {
    const { network, names } = this.#services;
    this.#view = view;
    names.start();
    names.changed();
    try {
      await network.learn(view);
    } catch (error) {
      this.#options.logger.error({ err: error }, "rules of the network could not be changed");
    }
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
    await this.#services.names.end();
    await this.#services.network.tearDown();
    this.#services.start.cgroups.removeOwn();
    await removeTree(agentPaths(this.#options.config).run);
  }

  /** Lets go of everything and stops nothing. */
  async close(): Promise<void> {
    this.#clearTimers();
    for (const known of this.#processes.values()) known.detach();
    await Promise.all([...this.#loops.values(), this.#services.names.close()]);
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

  #renderNames(): string {
    const { config } = this.#options;
    const known = [...this.#processes.values()];
    return renderNames({
      network: config,
      view: this.#view,
      tenants: new Set(known.flatMap(({ container }) => container?.tenant ?? [])),
      upstreams: readHostResolvers().servers,
    });
  }

  async #setUpNetwork(): Promise<void> {
    const containers = [...this.#processes.values()].flatMap(
      ({ processId, container }): [string, LocalContainer][] =>
        container === undefined ? [] : [[processId, container]],
    );
    await this.#services.network.setUp(new Map(containers));
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

type RuntimeEvents = Pick<ProcessServices, "onChange" | "onForgotten"> & {
  readonly renderNames: () => string;
};

function createServices(
  options: RuntimeOptions,
  records: readonly ProcessRecord[],
  { renderNames: render, ...events }: RuntimeEvents,
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
  const network = createNetwork(config, options.view ?? emptyView);
  const names = new NameServer({
    address: gatewayAddress(config.subnet),
    folder: paths.names,
    render,
    redirect: network.setResolver,
    logger,
  });
  const start: StartContext = {
    cgroups: openCgroups(agentKey, { dataFolder: config.dataDirectory }),
    clock,
    paths,
    mountFolder,
    lxcPath: `${mountFolder}/lxc-${agentKey}`,
    startTimeoutMs: config.startTimeoutMs,
    nameServer: () => names.address,
  };
  return {
    config,
    start,
    images,
    network,
    names,
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
