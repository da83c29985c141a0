/** wrk, as the client of a proxy. */
import { runPeer } from "../run-peer.ts";
import type { Proxy } from "./proxies.ts";

export type WrkFigures = { readonly requestsPerSecond: number; readonly p99Ms: number };

const CLIENTS = 32;
const SECONDS = 4;
const THREADS = 1;

/** @throws Error when a request failed */
export async function runWrk({ port, host }: Proxy): Promise<WrkFigures> {
  const flags = [
    `-t${THREADS}`,
    `-c${CLIENTS}`,
    `-d${SECONDS}s`,
    "--latency",
    "-H",
    `Host: ${host}`,
  ];
  const said = await runPeer("wrk", ...flags, `http://127.0.0.1:${port}/`);
  if (/Non-2xx|Socket errors/.test(said)) throw new Error(`requests failed: ${said}`);
  const [, rate] = /Requests\/sec:\s+([\d.]+)/.exec(said) ?? [];
  const [, p99, unit] = /99%\s+([\d.]+)(us|ms|s)/.exec(said) ?? [];
  if (rate === undefined || p99 === undefined) throw new Error(`wrk said: ${said}`);
  const inMs = { us: 0.001, ms: 1, s: 1000 }[unit ?? "ms"] ?? 1;
  return { requestsPerSecond: Number(rate), p99Ms: Number(p99) * inMs };
}
