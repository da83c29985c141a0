import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { type AgentConfig, parseConfig } from "@strata/agent/config";
import type { ImageSource } from "@strata/agent/container/image-source";
import type { SecretSource } from "@strata/agent/container/secret-keeper";
import { createLogger } from "@strata/agent/logger";
import type { NetworkView } from "@strata/agent/network/view";
import { agentPaths, processPaths } from "@strata/agent/paths";
import { Runtime } from "@strata/agent/runtime";
import type { Assignment, ProcessReport } from "@strata/protocol/agent/messages";

import { aTemporaryDirectory } from "../../support/temporary.ts";
import { aBusyboxImage, type ImageOptions } from "./busybox-image.ts";

/** A whole node without a controller: real containers, real network, in names of its own. */
export type TestNode = AsyncDisposable & {
  readonly config: AgentConfig;
  readonly assign: (...assignments: readonly Assignment[]) => void;
  /** Resolves with the report of a process once it fits; looks whenever the node says that something changed. */
  readonly until: (
    processId: string,
    fits: (report: ProcessReport) => boolean,
  ) => Promise<ProcessReport>;
  /** Resolves when the node's rules say what the view does. */
  readonly learn: (view: NetworkView) => Promise<void>;
  readonly untilForgotten: (processId: string) => Promise<void>;
  readonly report: (processId: string) => ProcessReport | undefined;
  /** What the process wrote so far. */
  readonly log: (processId: string) => string;
  readonly runtime: () => Runtime;
  /** Calls back at every change, until the returned function is called. */
  readonly onChange: (listener: (urgency: "now" | "soon") => void) => () => void;
  /** Ends this life of the agent without stopping anything, and begins the next one over the same data. */
  readonly restart: (meanwhile?: () => void) => Promise<void>;
};

export type NodeOptions = ImageOptions & {
  readonly images?: ImageSource;
  readonly secrets?: SecretSource;
  readonly environment?: Readonly<Record<string, string>>;
  /** The calendar's [that of this machine]. */
  readonly clock?: () => number;
};

let networks = 0;

export async function aNode(options: NodeOptions = {}): Promise<TestNode> {
  const folder = aTemporaryDirectory();
  const key = randomBytes(4).toString("hex");
  networks += 1;
  const config = parseConfig({
    STRATA_DATA: join(folder.path, "data"),
    STRATA_BRIDGE: `t${key.slice(0, 6)}`,
    STRATA_SUBNET: `10.${100 + (process.pid % 100)}.${networks}.0/24`,
    STRATA_HOST_PORTS: "23000-23999",
    ...options.environment,
  });
  const images = options.images ?? aBusyboxImage(folder.path, options);
  const listeners = new Set<(urgency: "now" | "soon") => void>();
  let view: NetworkView | undefined;
  const open = (): Promise<Runtime> =>
    Runtime.open({
      config,
      agentKey: `test-${key}`,
      images,
      ...(options.secrets && { secrets: options.secrets }),
      ...(view && { view }),
      clock: options.clock ?? Date.now,
      logger: createLogger(process.env.STRATA_LOG_LEVEL ?? "silent"),
      onChange: (urgency) => listeners.forEach((listener) => listener(urgency)),
    });
  let runtime = await open();
  // Nothing else keeps the program alive while only a container works; the node's end lets go of it, whoever still waits.
  const alive = setInterval(() => undefined, 60_000);
  let assigned: readonly Assignment[] = [];
  const report = (processId: string): ProcessReport | undefined =>
    runtime.report().find((candidate) => candidate.processId === processId);

  return {
    config,
    assign: (...assignments) => {
      assigned = assignments;
      runtime.assign(assignments);
    },
    until: (processId, fits) =>
      eventually(listeners, () => {
        const found = report(processId);
        return found !== undefined && fits(found) ? found : undefined;
      }),
    learn: async (told) => {
      view = told;
      await runtime.learn(told);
    },
    untilForgotten: async (processId) => {
      await eventually(listeners, () => (report(processId) === undefined ? true : undefined));
    },
    report,
    log: (processId) => readFileSync(processPaths(agentPaths(config), processId).log, "utf8"),
    runtime: () => runtime,
    onChange: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    restart: async (meanwhile) => {
      await runtime.close();
      meanwhile?.();
      runtime = await open();
      runtime.assign(assigned);
    },
    [Symbol.asyncDispose]: async () => {
      using _alive = { [Symbol.dispose]: () => clearInterval(alive) };
      await runtime.stopAll();
      await runtime.close();
      await runtime.tearDown();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Resolves with what `look` finds, now or after one of the changes to come. The suite's deadline bounds the wait. */
async function eventually<T>(
  listeners: Set<(urgency: "now" | "soon") => void>,
  look: () => T | undefined,
): Promise<T> {
  const { promise, resolve } = Promise.withResolvers<T>();
  const listener = (): void => {
    const found = look();
    if (found !== undefined) resolve(found);
  };
  listeners.add(listener);
  try {
    listener();
    return await promise;
  } finally {
    listeners.delete(listener);
  }
}
