/** An ingress as agents run it, bare HAProxy, and the server that both lead to. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { createHaproxy, HAPROXY } from "@strata/agent/ingress/haproxy";
import { Ingress } from "@strata/agent/ingress/ingress";
import { ingressPaths } from "@strata/agent/ingress/ingress-paths";
import { parseIngressSettings } from "@strata/agent/ingress/ingress-settings";
import { createLogger } from "@strata/agent/logger";
import type { NetworkState } from "@strata/agent/network-table/network-state";
import { toDefaultRoute } from "@strata/controller/domain/network/ingress-routes";
import type { Service } from "@strata/protocol/agent/network";

import { findFreePorts } from "../../instance/scratch.ts";
import { waitFor } from "../../instance/wait.ts";
import { removeTree } from "../../remove-tree.ts";

export type Proxy = AsyncDisposable & {
  /** Of 127.0.0.1. */
  readonly port: number;
  /** The name to ask for. */
  readonly host: string;
};

const HOST = "web.default.localhost";
const START_MS = 30_000;
const DEFAULTS = `defaults
  mode http
  timeout connect 3s
  timeout client 60s
  timeout server 60s
  timeout http-keep-alive 60s
`;

/** Answers every request at once, with a short text. */
export function aBackend(): Promise<Proxy> {
  return startHaproxy(
    (port) => `global
  maxconn 1000
${DEFAULTS}
frontend web
  bind 127.0.0.1:${port}
  http-request return status 200 content-type text/plain string "hello\\n"
`,
  );
}

/** The shortest configuration that leads a host to a server, with the usual access log and header. */
export function aBareProxy(backendPort: number): Promise<Proxy> {
  return startHaproxy(
    (port) => `global
  maxconn 1000
  log stdout len 8192 format raw local0 info
${DEFAULTS}
  log global
  option httplog
  option forwardfor
frontend web
  bind 127.0.0.1:${port}
  use_backend web if { req.hdr(host) -i ${HOST} }
backend web
  balance leastconn
  server one 127.0.0.1:${backendPort}
`,
  );
}

async function startHaproxy(configOf: (port: number) => string): Promise<Proxy> {
  const folder = mkdtempSync(join(tmpdir(), "strata-bench-haproxy-"));
  const port = await findFreePorts();
  const file = join(folder, "haproxy.cfg");
  writeFileSync(file, configOf(port));
  const log = openSync(join(folder, "access.log"), "a");
  // A session of its own, as that of an ingress: on a busy machine the kernel shares the processors out by sessions.
  const child = spawn(HAPROXY, ["-db", "-f", file], {
    stdio: ["ignore", log, "ignore"],
    detached: true,
  });
  closeSync(log);
  const proxy: Proxy = {
    port,
    host: HOST,
    [Symbol.asyncDispose]: async () => {
      await end(child);
      await removeTree(folder);
    },
  };
  await untilListening(proxy);
  return proxy;
}

/** With its access log, and reports each second to nobody. */
export async function anIngressProxy(backendPort: number): Promise<Proxy> {
  const folder = mkdtempSync(join(tmpdir(), "strata-bench-ingress-"));
  const paths = ingressPaths(join(folder, "run"), folder);
  const port = await findFreePorts();
  const settings = parseIngressSettings({
    STRATA_INGRESS_HTTP: String(port),
    STRATA_INGRESS_HTTPS: String(port + 1),
    STRATA_INGRESS_BIND: "127.0.0.1",
  });
  const client = { reportNetwork: () => Promise.resolve() };
  const logger = createLogger("silent");
  const options = { nodeId: "node-1", bootId: "bench", settings, paths, client, logger };
  const ingress = new Ingress(options, stateFor(backendPort));
  const done = ingress.run();
  const proxy: Proxy = {
    port,
    host: HOST,
    [Symbol.asyncDispose]: async () => {
      ingress.close();
      await done;
      await createHaproxy(paths).end();
      await removeTree(folder);
    },
  };
  await untilListening(proxy);
  return proxy;
}

/** A subscription with one process, which is the server. */
function stateFor(backendPort: number): NetworkState {
  const service: Service = {
    id: "web",
    tenant: "default",
    alias: "web",
    address: "198.18.0.1",
    access: { kind: "tenant" },
    ports: [{ name: "http", containerPort: backendPort, protocol: "tcp" }],
    wakes: false,
    endpoints: [
      {
        processId: "web-1",
        nodeId: "node-1",
        address: "127.0.0.1",
        containerAddress: "127.0.0.1",
        ports: { http: backendPort },
        state: "ready",
        generation: 1,
      },
    ],
  };
  const route = toDefaultRoute(service, "localhost");
  return {
    epoch: "bench",
    boot: "bench",
    revision: 1,
    services: new Map([[service.id, service]]),
    nodes: [],
    ingress: { routes: route === undefined ? [] : [route], certificates: [], challenges: [] },
  };
}

async function untilListening({ port }: Proxy): Promise<void> {
  const isUp = await waitFor(async () => ((await answers(port)) ? true : undefined), {
    timeoutMs: START_MS,
  });
  if (isUp === undefined) throw new Error(`nothing listens on ${port} after ${START_MS} ms`);
}

function answers(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(port, "127.0.0.1");
  socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
  return promise.finally(() => socket.destroy());
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill("SIGKILL");
  await gone;
}
