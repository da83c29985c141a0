/** A real HAProxy under a real ingress in a temporary folder, with servers on loopback in place of processes. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTcpServer, type Server as NetServer } from "node:net";
import { join } from "node:path";

import { createHaproxy, type Haproxy } from "@strata/agent/ingress/haproxy";
import { Ingress } from "@strata/agent/ingress/ingress";
import { ingressPaths, type IngressPaths } from "@strata/agent/ingress/ingress-paths";
import { parseIngressSettings } from "@strata/agent/ingress/ingress-settings";
import { createLogger } from "@strata/agent/logger";
import type { NetworkState } from "@strata/agent/network-table/network-state";
import type { Endpoint, NetworkReport } from "@strata/protocol/agent/network";

import { aTemporaryDirectory } from "../../support/temporary.ts";
import { anEndpoint } from "../support/a-network.ts";

export type TestIngress = AsyncDisposable & {
  readonly httpPort: number;
  readonly httpsPort: number;
  readonly paths: IngressPaths;
  readonly haproxy: Haproxy;
  /** Resolves when HAProxy has it, and the report that says so. */
  readonly apply: (state: NetworkState) => Promise<NetworkReport>;
  readonly untilReport: (fits: (report: NetworkReport) => boolean) => Promise<NetworkReport>;
  /** Ends this life of the ingress, and begins another one with this state; HAProxy goes on. */
  readonly restart: (state: NetworkState) => Promise<void>;
};

export async function anIngress(
  first: NetworkState,
  environment: Readonly<Record<string, string>> = {},
): Promise<TestIngress> {
  await using undo = new AsyncDisposableStack();
  const folder = undo.use(aTemporaryDirectory());
  const [httpPort = 0, httpsPort = 0] = await freePorts(2);
  const paths = ingressPaths(join(folder.path, "ingress"), folder.path);
  const haproxy = createHaproxy(paths);
  undo.defer(() => haproxy.end());
  const settings = parseIngressSettings({
    STRATA_INGRESS_HTTP: String(httpPort),
    STRATA_INGRESS_HTTPS: String(httpsPort),
    STRATA_INGRESS_BIND: "127.0.0.1",
    ...environment,
  });
  const reports: NetworkReport[] = [];
  const listeners = new Set<() => void>();
  const client = {
    reportNetwork: (report: NetworkReport) => {
      reports.push(report);
      for (const listener of listeners) listener();
      return Promise.resolve();
    },
  };
  const begin = (state: NetworkState): { ingress: Ingress; done: Promise<void> } => {
    const logger = createLogger(process.env.STRATA_TEST_LOG ?? "silent");
    const options = { nodeId: "node-1", bootId: "boot-1", settings, paths, client, logger };
    const ingress = new Ingress(options, state);
    return { ingress, done: ingress.run() };
  };
  let life = begin(first);
  const end = async (): Promise<void> => {
    life.ingress.close();
    await life.done;
  };
  undo.defer(end);
  const untilReport: TestIngress["untilReport"] = async (fits) => {
    const from = reports.length;
    const { promise, resolve } = Promise.withResolvers<NetworkReport>();
    const look = (): void => {
      const found = reports.slice(from).find(fits);
      if (found !== undefined) resolve(found);
    };
    listeners.add(look);
    try {
      return await promise;
    } finally {
      listeners.delete(look);
    }
  };
  const apply = (state: NetworkState): Promise<NetworkReport> => {
    const applied = untilReport(({ revision }) => revision === state.revision);
    life.ingress.follow(state);
    return applied;
  };
  await apply(first);
  const kept = undo.move();
  return {
    httpPort,
    httpsPort,
    paths,
    haproxy,
    apply,
    untilReport,
    restart: async (state) => {
      await end();
      life = begin(state);
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Of 127.0.0.1, at this moment. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createTcpServer());
  const ports = await Promise.all(servers.map(listenOn));
  await Promise.all(
    servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))),
  );
  return ports;
}

/** On a free port of 127.0.0.1, which it gives. */
export async function listenOn(server: NetServer): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** What stands for a process: it answers with its name. */
export type Process = AsyncDisposable & {
  readonly server: Server;
  readonly endpoint: Endpoint;
  readonly requests: readonly IncomingMessage[];
  /** As a `kill -9` would. */
  readonly kill: () => void;
};

export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

export async function aProcess(
  processId: string,
  answer: Answer = (_, response) => response.end(processId),
): Promise<Process> {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    answer(request, response);
  });
  const port = await listenOn(server);
  // Of another node: by its published port.
  const endpoint = anEndpoint({ processId, nodeId: "node-2", ports: { http: port } });
  const kill = (): void => {
    server.close();
    server.closeAllConnections();
  };
  return {
    server,
    endpoint,
    requests,
    kill,
    [Symbol.asyncDispose]: () => {
      kill();
      return Promise.resolve();
    },
  };
}
