import { readFileSync } from "node:fs";

import type { NetworkReport } from "@strata/protocol/agent/network";
import type { Logger } from "pino";

import { createWaker } from "../container/waker.ts";
import type { NetworkClient } from "../controller-client.ts";
import { isAlive, type ProcessIdentity } from "../host/process-table.ts";
import type { NetworkState } from "../network-table/network-state.ts";
import { hasIpv6 } from "../network/bridge.ts";
import { createCertificateCheck } from "./certificate.ts";
import { createHaproxy, type Haproxy } from "./haproxy.ts";
import type { IngressPaths } from "./ingress-paths.ts";
import type { IngressSettings } from "./ingress-settings.ts";
import { type ActualServer, planChanges, type ServerChange, toActual } from "./plan-changes.ts";
import { type IngressPlan, planIngress, type RoutePlan } from "./plan-ingress.ts";
import { backendName, KEEP_ALIVE_MS, renderConfig, type RenderedConfig } from "./render-config.ts";
import { rotateLog } from "./rotate-log.ts";
import type { WorkerStats } from "./traffic.ts";
import { TrafficBook } from "./traffic.ts";

export type IngressOptions = {
  readonly nodeId: string;
  /** One life of this program: what is counted grows within it. */
  readonly bootId: string;
  readonly settings: IngressSettings;
  readonly paths: IngressPaths;
  readonly client: Pick<NetworkClient, "reportNetwork">;
  readonly logger: Logger;
  /** Requests that the waker answers right now, by the process that it asked [none]. */
  readonly woken?: () => ReadonlyMap<string, number>;
};

/** HAProxy is looked at so often: one that died is back within a second. */
const LOOK_MS = 100;
const REPORT_MS = 1000;
/** Reloads have at least so much between them; what changes meanwhile is one reload. */
const RELOAD_EVERY_MS = 1000;
/** What failed is tried again so much later, twice as much after each failure, or when something changes. */
const RETRY_MS = 100;
const RETRY_MS_MAX = 5000;
/** A process that still has requests is tried to be removed so often. */
const REMOVE_EVERY_MS = 1000;
const MESSAGES_BYTES_MAX = 2 * 1024 * 1024;
const PROBLEMS_MAX = 20;

type Servers = Map<string, Map<string, ActualServer>>;

/** Makes HAProxy do what the network table says, for as long as this node is an ingress. It is compared again and again
 * with what it should be, however it came to be otherwise, and serves on when this program ends. */
export class Ingress {
  readonly #options: IngressOptions;
  readonly #haproxy: Haproxy;
  readonly #stop = new AbortController();
  readonly #changes = createWaker();
  readonly #reports = createWaker();
  readonly #traffic = new TrafficBook();
  readonly #areUsable = createCertificateCheck();
  #state: NetworkState;
  #planned:
    | { readonly state: NetworkState; readonly plan: IngressPlan; config: RenderedConfig }
    | undefined;
  #process: ProcessIdentity | undefined;
  #hasLooked = false;
  #servedId: string | undefined;
  #servers: Servers = new Map();
  #applied: Pick<NetworkState, "boot" | "revision"> = { boot: "", revision: 0 };
  #problem: string | undefined;
  #reloadedAtMs = Number.NEGATIVE_INFINITY;
  #removedAtMs = Number.NEGATIVE_INFINITY;
  #retryAtMs = 0;
  #failures = 0;

  constructor(options: IngressOptions, state: NetworkState) {
    this.#options = options;
    this.#haproxy = createHaproxy(options.paths);
    this.#state = state;
  }

  /** What the network is from now on. */
  follow(state: NetworkState): void {
    this.#state = state;
    this.#retryAtMs = 0;
    this.#changes.wake();
    if (state.ingress !== null) this.#reports.wake();
  }

  /** Runs until `close`. */
  async run(): Promise<void> {
    await Promise.all([this.#applyForEver(), this.#reportForEver()]);
  }

  /** HAProxy goes on. */
  close(): void {
    this.#stop.abort();
    this.#changes.wake();
    this.#reports.wake();
  }

  async #applyForEver(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        await this.#apply();
      } catch (error) {
        this.#options.logger.error({ err: error }, "the ingress is not as it should be");
        this.#problem = error instanceof Error ? error.message.slice(0, 500) : String(error);
        this.#retryAtMs =
          performance.now() + Math.min(RETRY_MS * 2 ** this.#failures, RETRY_MS_MAX);
        this.#failures = Math.min(this.#failures + 1, 10);
        // What it has by now is not known.
        this.#hasLooked = false;
      }
      const isIdle = this.#state.ingress === null && this.#hasLooked;
      await this.#changes.wait(isIdle ? undefined : LOOK_MS);
    }
  }

  async #apply(): Promise<void> {
    const state = this.#state;
    if (!this.#hasLooked) await this.#look();
    if (state.ingress === null) return this.#rest(state);
    const isDead = this.#process !== undefined && !isAlive(this.#process);
    if (isDead) {
      this.#options.logger.warn("HAProxy has died: starting it again");
      this.#forget();
      this.#retryAtMs = 0;
    }
    const nowMs = performance.now();
    if (nowMs < this.#retryAtMs) return;
    const { plan, config } = this.#plan(state);
    const isOther = this.#servedId !== config.id;
    const mayLoad = nowMs - this.#reloadedAtMs >= RELOAD_EVERY_MS || this.#process === undefined;
    if (isOther && mayLoad) await this.#load(plan, config);
    await this.#change(plan.routes);
    if (this.#servedId !== config.id) return;
    this.#problem = undefined;
    this.#failures = 0;
    const { boot, revision } = state;
    if (this.#applied.boot === boot && this.#applied.revision === revision) return;
    this.#applied = { boot, revision };
    this.#reports.wake();
  }

  /** What an earlier life, or a step that failed, has left. */
  async #look(): Promise<void> {
    this.#forget();
    this.#process = await this.#haproxy.find();
    const id = await this.#haproxy.readConfigId().catch(() => undefined);
    if (this.#process !== undefined && id === undefined) {
      // A master without a worker that answers cannot be led any more.
      await this.#haproxy.end();
      this.#process = undefined;
    }
    if (this.#process !== undefined) {
      this.#servedId = id;
      const servers = await this.#haproxy.readServers();
      this.#servers = new Map([...servers].map(([name, known]) => [name, new Map(known)]));
      // When the last reload was is not known.
      this.#reloadedAtMs = performance.now();
    }
    this.#hasLooked = true;
  }

  #forget(): void {
    this.#process = undefined;
    this.#servedId = undefined;
    this.#servers = new Map();
  }

  async #rest(state: NetworkState): Promise<void> {
    if (this.#process !== undefined) {
      this.#options.logger.info("this node is no ingress any more");
      await this.#haproxy.end();
      this.#forget();
    }
    this.#planned = undefined;
    this.#applied = { boot: state.boot, revision: state.revision };
  }

  #plan(state: NetworkState): { readonly plan: IngressPlan; readonly config: RenderedConfig } {
    if (this.#planned?.state === state) return this.#planned;
    const { nodeId, settings, paths } = this.#options;
    const plan = planIngress(state, {
      nodeId,
      ownPorts: [settings.httpPort, settings.httpsPort],
      isUsable: this.#areUsable(state.ingress?.certificates ?? []),
    });
    const bind =
      settings.bind.length > 0 ? settings.bind : ["0.0.0.0", ...(hasIpv6() ? ["::"] : [])];
    const connectionsMax = Math.min(settings.connectionsMax, readConnectionsMax());
    const config = renderConfig(plan, { settings: { ...settings, connectionsMax }, paths, bind });
    this.#planned = { state, plan, config };
    return this.#planned;
  }

  async #load({ routes }: IngressPlan, config: RenderedConfig): Promise<void> {
    this.#reloadedAtMs = performance.now();
    this.#process = await this.#haproxy.load(config, this.#process);
    this.#servedId = config.id;
    this.#servers = new Map(
      routes.map(({ route, servers }) => [
        backendName(route),
        new Map([...servers].map(([name, server]) => [name, toActual(server)])),
      ]),
    );
  }

  async #change(routes: readonly RoutePlan[]): Promise<void> {
    const mayRemove = performance.now() - this.#removedAtMs >= REMOVE_EVERY_MS;
    const changes = planChanges(this.#servers, routes).filter(
      ({ kind }) => kind !== "remove" || mayRemove,
    );
    if (changes.length === 0) return;
    if (mayRemove) this.#removedAtMs = performance.now();
    const commands = changes.flatMap((change) => change.commands);
    const answers = await this.#haproxy.command(commands);
    let index = 0;
    const refusals: string[] = [];
    for (const change of changes) {
      const own = answers.slice(index, index + change.commands.length);
      index += change.commands.length;
      const refusal = findRefusal(change, own);
      if (refusal === undefined) this.#note(change);
      // It has requests yet.
      else if (change.kind !== "remove")
        refusals.push(`${change.backend}/${change.name}: ${refusal}`);
    }
    if (refusals.length > 0) throw new Error(`HAProxy refused ${refusals.slice(0, 5).join("; ")}`);
  }

  #note({ backend, name, server }: ServerChange): void {
    const servers = this.#servers.get(backend);
    if (server === undefined) servers?.delete(name);
    else servers?.set(name, server);
  }

  async #reportForEver(): Promise<void> {
    const { client, logger, settings, paths } = this.#options;
    const { signal } = this.#stop;
    let isSilent = false;
    while (!signal.aborted) {
      try {
        const report = this.#state.ingress === null ? undefined : await this.#makeReport();
        if (report !== undefined) {
          await client.reportNetwork(report, signal);
          rotateLog(paths.accessLog, settings.logBytesMax);
          rotateLog(paths.messages, MESSAGES_BYTES_MAX);
        }
        isSilent = false;
      } catch (error) {
        if (!signal.aborted && !isSilent) logger.warn({ err: error }, "no report of the ingress");
        isSilent = true;
      }
      await this.#reports.wait(this.#state.ingress === null ? undefined : REPORT_MS);
    }
  }

  /** Nothing while HAProxy is away or takes in another configuration: what it then has in flight is not known. */
  async #makeReport(): Promise<NetworkReport | undefined> {
    const { bootId, woken } = this.#options;
    // Before what is measured: what is acknowledged was in force all the while.
    const { boot, revision } = this.#applied;
    const { plan } = this.#planned ?? {};
    const workers = await this.#readWorkers().catch(() => undefined);
    if (workers === undefined && this.#problem === undefined) return undefined;
    const isRecent = performance.now() - this.#reloadedAtMs < KEEP_ALIVE_MS + REPORT_MS;
    const traffic = this.#traffic.take(workers ?? [], plan?.routes ?? [], {
      woken: woken?.() ?? new Map(),
      mayGetMore: isRecent && (workers?.length ?? 0) > 1,
    });
    const problems = [
      ...(this.#problem === undefined ? [] : [this.#problem]),
      ...(plan?.problems ?? []),
    ];
    return {
      bootId,
      boot,
      revision,
      problems: problems.slice(0, PROBLEMS_MAX).map((text) => text.slice(0, 500)),
      ...traffic,
    };
  }

  /** The one that serves comes first. */
  async #readWorkers(): Promise<readonly WorkerStats[] | undefined> {
    const workers = await this.#haproxy.readWorkers();
    if (workers?.current === undefined) return undefined;
    const current = { pid: workers.current, stats: await this.#haproxy.readStats() };
    const old = workers.old.map(async (pid) => ({
      pid,
      stats: await this.#haproxy.readOldStats(pid),
    }));
    return [current, ...(await Promise.all(old))];
  }
}

function findRefusal({ kind }: ServerChange, answers: readonly string[]): string | undefined {
  if (kind === "remove") {
    return answers.find((answer) => !/^(Server deleted\.|No such server\.)$/.test(answer));
  }
  return answers.find(
    (answer) => !/^($|New server registered|no need to change)|changed from/.test(answer),
  );
}

/** Each of a client has one to a process beside it; some files are open all the time. */
function readConnectionsMax(): number {
  const [, hard] =
    /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
  const files = hard === "unlimited" ? Number.POSITIVE_INFINITY : Number(hard);
  return Math.max(100, Math.floor((files - 500) / 2));
}
