import { createHash } from "node:crypto";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import type { Logger } from "pino";
import { z } from "zod";

import { watchLife } from "../container/life-watch.ts";
import { createWaker } from "../container/waker.ts";
import { readStateFile, replaceFile } from "../durable-file.ts";
import { endDnsmasq, findFreePort, hasDnsmasq, isDnsmasq, startDnsmasq } from "./dnsmasq.ts";

export type NameServerOptions = {
  /** Of the bridge. */
  readonly address: string;
  readonly folder: string;
  /** What it shall answer right now: the lines of `renderNames`. */
  readonly render: () => string;
  /** Leads the questions of containers to this port, from the next one on. */
  readonly redirect: (port: number | undefined) => Promise<void>;
  readonly logger: Logger;
};

/** Those that were started and may still run: the last one is asked. */
const Started = z.array(
  z.object({
    pid: z.int().positive(),
    startTicks: z.int().nonnegative(),
    port: z.int().min(1).max(65535),
    /** SHA-256 of what it answers. */
    names: z.string(),
  }),
);
type Started = z.infer<typeof Started>;

/** Questions that came before the switch are answered by then. */
const GRACE_MS = 2000;
/** Changes that come faster are gathered. */
const PAUSE_MS = 1000;
const RETRY_MS_MAX = 60_000;
/** How often it is looked whether the host asks other name servers by now. */
const LOOK_MS = 10_000;
const END_MS_MAX = 5000;
const END_LOOK_MS = 10;

/** The node's own name server: one dnsmasq that outlives the agent. dnsmasq reads what it answers when it starts, so
 * other answers are given by another one, at another port: once it answers, containers are led there, and no question is
 * lost. */
export class NameServer {
  readonly #options: NameServerOptions;
  readonly #path: string;
  readonly #waker = createWaker();
  readonly #stop = new AbortController();
  #started: Started = [];
  #failures = 0;
  #work: Promise<void> | undefined;

  constructor(options: NameServerOptions) {
    this.#options = options;
    this.#path = join(options.folder, "started.json");
  }

  /** Where containers ask; undefined where it cannot run. */
  get address(): string | undefined {
    return this.#work === undefined || this.#failures > 0 ? undefined : this.#options.address;
  }

  /** The port of the one that another life of the agent left; undefined when it is gone. */
  adopt(): number | undefined {
    this.#started = readStarted(this.#path);
    const current = this.#started.at(-1);
    if (current === undefined || !isDnsmasq(current)) return undefined;
    this.#retire(this.#started.slice(0, -1));
    return current.port;
  }

  /** Has it run from now on. Safe to repeat; nothing where there is no dnsmasq. */
  start(): void {
    if (hasDnsmasq()) this.#work ??= this.#run();
  }

  /** What it answers may be another now. */
  changed(): void {
    this.#waker.wake();
  }

  /** Lets go of it; it goes on. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#waker.wake();
    await this.#work;
  }

  /** Ends it, whoever started it. Safe to repeat. */
  async end(): Promise<void> {
    await this.close();
    const instances = readStarted(this.#path);
    for (const instance of instances) endDnsmasq(instance);
    const deadline = performance.now() + END_MS_MAX;
    while (instances.some(isDnsmasq) && performance.now() < deadline) await delay(END_LOOK_MS);
  }

  async #run(): Promise<void> {
    const { folder, logger } = this.#options;
    const { signal } = this.#stop;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const onGone = (): void => this.#waker.wake();
    const stopLooking = watchLife({ process: () => this.#started.at(-1), onGone });
    while (!signal.aborted) {
      const restMs = await this.#step().catch((error: unknown) => {
        logger.error({ err: error }, "the node's name server is not looked after");
        return RETRY_MS_MAX;
      });
      if (restMs > 0) {
        await delay(restMs, undefined, { ref: false, signal }).catch(() => undefined);
      }
      await this.#waker.wait(restMs > 0 ? 0 : LOOK_MS);
    }
    stopLooking();
  }

  /** Gives how long to rest. */
  async #step(): Promise<number> {
    const { logger, redirect, render } = this.#options;
    const text = render();
    const names = createHash("sha256").update(text).digest("hex");
    const current = this.#started.at(-1);
    const isThere = current !== undefined && isDnsmasq(current);
    if (isThere && current.names === names) return 0;
    try {
      await this.#replace(text, names);
      this.#failures = 0;
      return PAUSE_MS;
    } catch (error) {
      this.#failures += 1;
      logger.error({ err: error }, "the node's name server does not start");
      if (!isThere) await redirect(undefined);
      return Math.min(RETRY_MS_MAX, PAUSE_MS * 2 ** this.#failures);
    }
  }

  async #replace(text: string, names: string): Promise<void> {
    const { address, folder, redirect } = this.#options;
    const port = await findFreePort(address);
    const path = join(folder, `${port}.conf`);
    const identity = await startDnsmasq({ address, port, names: text, path });
    const before = this.#started;
    this.#keep([...before, { ...identity, port, names }]);
    await redirect(port);
    this.#retire(before);
  }

  #retire(before: Started): void {
    if (before.length === 0) return;
    const end = (): void => {
      // The next life of the agent does it.
      if (this.#stop.signal.aborted) return;
      for (const instance of before) {
        endDnsmasq(instance);
        removeFiles(this.#options.folder, instance.port);
      }
      this.#keep(this.#started.filter((instance) => !before.includes(instance)));
    };
    setTimeout(end, GRACE_MS).unref();
  }

  #keep(instances: Started): void {
    this.#started = instances;
    replaceFile(this.#path, JSON.stringify(instances));
  }
}

function removeFiles(folder: string, port: number): void {
  for (const name of [`${port}.conf`, `${port}.conf.log`])
    rmSync(join(folder, name), { force: true });
}

/** One that lost the file begins anew. */
function readStarted(path: string): Started {
  try {
    return readStateFile(path, Started) ?? [];
  } catch {
    return [];
  }
}
