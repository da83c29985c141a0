/** A real Prometheus that scrapes one test server once a second. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { aTemporaryDirectory } from "./temporary.ts";

export const PROMETHEUS = "/usr/bin/prometheus";

export type Prometheus = AsyncDisposable & {
  readonly url: string;
  /** What the scraped server answers from now on, in Prometheus's text format. */
  page: string;
  /** Ends the server and leaves its port closed. */
  readonly stop: () => Promise<void>;
};

const START_MS = 25_000;

export async function aPrometheus(page: string): Promise<Prometheus> {
  const folder = aTemporaryDirectory();
  const scraped = createServer((_, response) => {
    response.setHeader("content-type", "text/plain; version=0.0.4");
    response.end(prometheus.page);
  });
  scraped.listen(0, "127.0.0.1");
  await once(scraped, "listening");
  // The cast: a server that listens on TCP has such an address.
  const { port } = scraped.address() as AddressInfo;
  const configFile = join(folder.path, "prometheus.yml");
  writeFileSync(configFile, configOf(port));
  const child = spawn(
    PROMETHEUS,
    [
      `--config.file=${configFile}`,
      `--storage.tsdb.path=${join(folder.path, "data")}`,
      "--web.listen-address=127.0.0.1:0",
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  const prometheus: Prometheus = {
    url: `http://${await listeningAddress(child)}`,
    page,
    stop: () => end(child),
    [Symbol.asyncDispose]: async () => {
      await end(child);
      scraped.closeAllConnections();
      scraped.close();
      await folder[Symbol.asyncDispose]();
    },
  };
  await untilReady(prometheus.url);
  return prometheus;
}

async function untilReady(url: string): Promise<void> {
  const endsAt = Date.now() + START_MS;
  while (Date.now() < endsAt) {
    const answer = await fetch(`${url}/-/ready`).catch(() => undefined);
    if (answer?.ok === true) return;
    await delay(50);
  }
  throw new Error(`${url} did not become ready in ${START_MS} ms`);
}

function configOf(port: number): string {
  return JSON.stringify({
    global: { scrape_interval: "1s", scrape_timeout: "1s" },
    scrape_configs: [{ job_name: "test", static_configs: [{ targets: [`127.0.0.1:${port}`] }] }],
  });
}

async function listeningAddress(child: ChildProcess): Promise<string> {
  const found = Promise.withResolvers<string>();
  let log = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    log += chunk.toString();
    const address = /(?:Listening on|TLS is disabled\.).*?address=(127\.0\.0\.1:\d+)/.exec(
      log,
    )?.[1];
    if (address !== undefined && !address.endsWith(":0")) found.resolve(address);
  });
  child.once("exit", (code) => found.reject(new Error(`prometheus ended with ${code}: ${log}`)));
  const timer = setTimeout(() => found.reject(new Error(`not up in time: ${log}`)), START_MS);
  try {
    return await found.promise;
  } finally {
    clearTimeout(timer);
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill("SIGTERM");
  await gone;
}
