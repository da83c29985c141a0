import { setTimeout as delay } from "node:timers/promises";

import type {
  Assignments,
  ProcessReport,
  Report,
  ReportResponse,
  StreamRequest,
} from "@strata/protocol/agent/messages";
import type { AgentSpan } from "@strata/protocol/agent/spans";
import type { UpgradeOrder, UpgradeReport } from "@strata/protocol/agent/upgrade";
import type { VolumeName } from "@strata/protocol/agent/volumes";
import type { Logger } from "pino";

import { acceptAssignments, type DesiredState } from "./accept-assignments.ts";
import { backoffMs } from "./backoff.ts";
import { createWaker } from "./container/waker.ts";
import type { ControllerClient } from "./controller-client.ts";
import { replaceFile, syncFile } from "./durable-file.ts";
import { AgentError, DecommissionedError } from "./errors.ts";
import { readCapacity } from "./host/machine.ts";

export type SessionOptions = {
  readonly client: ControllerClient;
  readonly logger: Logger;
  /** Between 0 and 1; spreads the retries of many nodes. */
  readonly random: () => number;
  readonly agentVersion: string;
  /** One life of this program. */
  readonly bootId: string;
  readonly beatIntervalMs: number;
  /** What this node was told last. */
  readonly desired: DesiredState;
  readonly desiredPath: string;
  readonly onDesired: (desired: DesiredState) => void;
  /** The controller took a report in. */
  readonly onAnswer?: (answer: ReportResponse) => void;
  readonly onStream: (request: StreamRequest) => void;
  /** Another version of the agent is wanted. Comes again until its end is reported. */
  readonly onUpgrade?: (order: UpgradeOrder) => void;
  readonly describeUpgrade?: () => UpgradeReport | undefined;
  /** All named volumes that shall be removed. */
  readonly onRemoveVolumes?: (volumes: readonly VolumeName[]) => void;
  /** Those of them that are gone. */
  readonly describeRemovedVolumes?: () => readonly VolumeName[];
  readonly describeProcesses: () => readonly ProcessReport[];
  /** Steps of starts since the last report. */
  readonly takeSpans?: () => AgentSpan[];
};

const POLL_WAIT_MS = 30_000;
/** Changes that nobody waits for are gathered this long: most starts are over by then and need one report alone. */
const GATHER_MS = 100;
/** Stream requests come again until they are opened. */
const STREAMS_REMEMBERED = 1000;

/** `decommissioned`: an operator deleted this node. */
export type SessionEnd = "closed" | "decommissioned";

/** The conversation with the controller: what to run comes by long poll, what runs goes by report. Neither waits for the
 * other, and silence of the controller changes nothing on this node (rule 3). */
export class Session {
  readonly #options: SessionOptions;
  readonly #reportWaker = createWaker();
  readonly #stop = new AbortController();
  readonly #seenStreams = new Set<string>();
  #desired: DesiredState;
  #beatIntervalMs: number;
  #sequence = 0;
  #synced = Promise.resolve();
  #syncs = 0;
  #gathering: NodeJS.Timeout | undefined;
  #end: SessionEnd = "closed";

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#desired = options.desired;
    this.#beatIntervalMs = options.beatIntervalMs;
  }

  /** Runs until `close`, or until the node was deleted. */
  async run(): Promise<SessionEnd> {
    await Promise.all([this.#pollForEver(), this.#reportForEver()]);
    await this.#synced;
    return this.#end;
  }

  close(): void {
    this.#stop.abort();
    clearTimeout(this.#gathering);
    this.#reportWaker.wake();
  }

  /** Has the processes reported: at once, or gathered with other changes. */
  changed(urgency: "now" | "soon"): void {
    if (urgency === "now") this.#reportWaker.wake();
    else this.#gathering ??= setTimeout(() => this.#reportGathered(), GATHER_MS);
  }

  #reportGathered(): void {
    this.#gathering = undefined;
    this.#reportWaker.wake();
  }

  async #pollForEver(): Promise<void> {
    const { client } = this.#options;
    const { signal } = this.#stop;
    for (let failures = 0; !signal.aborted;) {
      try {
        const message = await client.poll(this.#desired.revision, { waitMs: POLL_WAIT_MS, signal });
        failures = 0;
        if (message === undefined) continue;
        this.#take(message);
      } catch (error) {
        failures += 1;
        if (!signal.aborted) await this.#backOff(error, failures);
      }
    }
  }

  #take(message: Assignments): void {
    const { logger, onDesired, onUpgrade, onRemoveVolumes } = this.#options;
    const { desired, refusals, upgrade, removeVolumes } = acceptAssignments(this.#desired, message);
    for (const refusal of refusals) logger.warn({ refusal }, "part of the assignments was refused");
    this.#keep(desired);
    onDesired(desired);
    // Only now: what could not be acted on is asked for again.
    this.#desired = desired;
    message.streams.forEach((request) => this.#openOnce(request));
    if (upgrade !== undefined) onUpgrade?.(upgrade);
    onRemoveVolumes?.(removeVolumes);
    // The controller learns that this revision was taken in, and which epoch is held.
    this.changed("soon");
  }

  /** In the file before it is acted on, so that another life of the agent works from nothing older; a loss of power,
   * which ends all containers anyway, is guarded against meanwhile. A disk that is full or slow holds nothing up: to
   * stop what fills it is what the message may be about. */
  #keep(desired: DesiredState): void {
    const { logger, desiredPath } = this.#options;
    const failed = (error: unknown): void =>
      logger.error({ err: error }, "the assignments could not be written down");
    try {
      replaceFile(desiredPath, JSON.stringify(desired));
      // One under way and one that waits for it: the second covers whatever comes until it begins.
      if (this.#syncs >= 2) return;
      this.#syncs += 1;
      this.#synced = this.#synced
        .then(() => syncFile(desiredPath))
        .catch(failed)
        .finally(() => (this.#syncs -= 1));
    } catch (error) {
      failed(error);
    }
  }

  async #reportForEver(): Promise<void> {
    const { signal } = this.#stop;
    for (let failures = 0; !signal.aborted;) {
      try {
        const report = this.#makeReport();
        const answer = await this.#options.client.report(report, signal);
        failures = 0;
        this.#beatIntervalMs = answer.beatIntervalMs;
        this.#options.onAnswer?.(answer);
        // A node with many processes gathers changes longer: a report is as long as its list.
        await this.#pause(report.processes.length);
        await this.#reportWaker.wait(this.#beatIntervalMs);
      } catch (error) {
        failures += 1;
        if (!signal.aborted) await this.#backOff(error, failures);
      }
    }
  }

  #makeReport(): Report {
    this.#sequence += 1;
    const { bootId, agentVersion, describeProcesses, describeUpgrade } = this.#options;
    const upgrade = describeUpgrade?.();
    const spans = this.#options.takeSpans?.() ?? [];
    const removedVolumes = [...(this.#options.describeRemovedVolumes?.() ?? [])];
    return {
      epoch: this.#desired.epoch,
      sequence: this.#sequence,
      bootId,
      revision: this.#desired.revision,
      agentVersion,
      capacity: readCapacity(),
      processes: [...describeProcesses()],
      ...(spans.length > 0 && { spans }),
      ...(upgrade !== undefined && { upgrade }),
      ...(removedVolumes.length > 0 && { removedVolumes }),
    };
  }

  #openOnce(request: StreamRequest): void {
    if (this.#seenStreams.has(request.id)) return;
    this.#seenStreams.add(request.id);
    const [oldest] = this.#seenStreams;
    if (this.#seenStreams.size > STREAMS_REMEMBERED && oldest !== undefined) {
      this.#seenStreams.delete(oldest);
    }
    this.#options.onStream(request);
  }

  async #backOff(error: unknown, failures: number): Promise<void> {
    const { logger, random } = this.#options;
    // The word of another epoch ends nothing: a restored backup may not know this node.
    if (error instanceof DecommissionedError && error.epoch === this.#desired.epoch) {
      this.#end = "decommissioned";
      return this.close();
    }
    const isRefused = error instanceof AgentError && !error.retryable;
    const waitMs = backoffMs(failures, { isRefused, random: random() });
    logger.warn(
      { err: error, failures, waitMs: Math.round(waitMs) },
      isRefused
        ? "the controller refuses this node: its containers go on; join anew if its credential was revoked"
        : "no contact with the controller",
    );
    await this.#pause(waitMs);
  }

  async #pause(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#stop.signal }).catch(() => undefined);
  }
}
