import { setTimeout as delay } from "node:timers/promises";

import type { NetworkTable } from "@strata/protocol/agent/network";
import type { Logger } from "pino";

import { backoffMs } from "../backoff.ts";
import type { NodeClient } from "../controller-client.ts";
import { readStateFile, replaceFile, syncFile } from "../durable-file.ts";
import { AgentError, DecommissionedError } from "../errors.ts";
import {
  applyTable,
  emptyNetwork,
  KeptNetwork,
  keepNetwork,
  type NetworkState,
  restoreNetwork,
} from "./network-state.ts";

export type NetworkFollowerOptions = {
  readonly client: Pick<NodeClient, "pollNetwork">;
  /** The epoch that this node obeys right now. */
  readonly epoch: () => string;
  readonly path: string;
  /** Between 0 and 1. */
  readonly random: () => number;
  readonly logger: Logger;
};

/** Hears of every state that is taken, in their order. Must not throw; slow work belongs in a loop of its own. */
export type NetworkListener = (before: NetworkState, after: NetworkState) => void;

/** What the node knows of the network, followed by long poll and kept in a file, so that it holds while the controller
 * is silent and in the agent's next life. */
export type NetworkFollower = {
  readonly state: () => NetworkState;
  /** From now on. What is known already is in `state`. */
  readonly subscribe: (listener: NetworkListener) => void;
  /** Resolves after `close`, or when the node was deleted. */
  readonly run: () => Promise<void>;
  readonly close: () => void;
};

const POLL_WAIT_MS = 30_000;
/** A table may be of many megabytes and change many times a second. */
const WRITE_EVERY_MS = 1000;

export function createNetworkFollower(options: NetworkFollowerOptions): NetworkFollower {
  const { client, epoch, logger, path, random } = options;
  const stop = new AbortController();
  const { signal } = stop;
  const listeners: NetworkListener[] = [];
  const keeper = createKeeper(path, logger);
  let state = readKept(options);

  const take = (message: NetworkTable): void => {
    // As with assignments: the word of a state that nobody has confirmed changes nothing here.
    if (message.epoch !== epoch()) {
      throw new AgentError(
        "CONTROLLER_REFUSED",
        `a network table of the unconfirmed epoch ${message.epoch}`,
        { hint: "confirm the restored backup, or restore another one" },
      );
    }
    const before = state;
    const after = applyTable(before, message);
    // The next poll asks for everything.
    state = after ?? { ...before, revision: 0 };
    if (after === undefined) return;
    keeper.keep(after);
    for (const listener of listeners) listener(before, after);
  };

  const follow = async (): Promise<void> => {
    for (let failures = 0; !signal.aborted;) {
      try {
        const { boot } = state;
        const revision = state.epoch === epoch() ? state.revision : 0;
        const wait = { waitMs: POLL_WAIT_MS, signal };
        const message = await client.pollNetwork({ boot, revision }, wait);
        failures = 0;
        if (message !== undefined) take(message);
      } catch (error) {
        if (signal.aborted) return;
        // The session gives the node up.
        if (error instanceof DecommissionedError && error.epoch === epoch()) return;
        failures += 1;
        const isRefused = error instanceof AgentError && !error.retryable;
        const waitMs = backoffMs(failures, { isRefused: false, random: random() });
        // Silence of the controller is the session's to complain about.
        if (isRefused && failures === 1)
          logger.warn({ err: error, failures }, "no new network table");
        await delay(waitMs, undefined, { signal }).catch(() => undefined);
      }
    }
  };

  return {
    state: () => state,
    subscribe: (listener) => void listeners.push(listener),
    run: async () => {
      await follow();
      await keeper.close();
    },
    close: () => stop.abort(),
  };
}

/** A node that lost the file asks for everything. */
function readKept({ path, epoch, logger }: NetworkFollowerOptions): NetworkState {
  try {
    const kept = readStateFile(path, KeptNetwork);
    if (kept !== undefined) return restoreNetwork(kept);
  } catch (error) {
    logger.error({ err: error }, "the network table is asked for anew");
  }
  return emptyNetwork(epoch());
}

type Keeper = { readonly keep: (state: NetworkState) => void; readonly close: () => Promise<void> };

/** Writes at once, then at most once in WRITE_EVERY_MS, the latest. */
function createKeeper(path: string, logger: Logger): Keeper {
  let pending: NetworkState | undefined;
  let timer: NodeJS.Timeout | undefined;
  let synced = Promise.resolve();
  const failed = (error: unknown): void =>
    logger.error({ err: error }, "the network table could not be written down");

  const write = (): void => {
    if (pending === undefined) return;
    const text = JSON.stringify(keepNetwork(pending));
    pending = undefined;
    try {
      replaceFile(path, text);
      synced = synced.then(() => syncFile(path)).catch(failed);
    } catch (error) {
      failed(error);
    }
  };
  const pause = (): void => {
    timer = setTimeout(() => {
      timer = undefined;
      if (pending === undefined) return;
      write();
      pause();
    }, WRITE_EVERY_MS);
    timer.unref();
  };
  return {
    keep: (state) => {
      pending = state;
      if (timer !== undefined) return;
      write();
      pause();
    },
    close: async () => {
      clearTimeout(timer);
      write();
      await synced;
    },
  };
}
