import { once } from "node:events";
import { type IncomingMessage, request, type RequestOptions } from "node:http";
import { join } from "node:path";

import { createLogger } from "@strata/agent/logger";
import type { NetworkListener } from "@strata/agent/network-table/network-follower";
import { emptyNetwork, type NetworkState } from "@strata/agent/network-table/network-state";
import { openWakeServer, type WakeServer } from "@strata/agent/waker/wake-server";
import type { Endpoint, IngressRoute } from "@strata/protocol/agent/network";

import { aTemporaryDirectory } from "../../support/temporary.ts";
import { anEndpoint, aService } from "../support/a-network.ts";

export type TestWaker = AsyncDisposable & {
  readonly server: WakeServer;
  readonly socketPath: string;
  /** What the controller says next of the one service. */
  readonly tell: (...endpoints: readonly Partial<Endpoint>[]) => void;
  /** Services that the controller was asked for. */
  readonly asked: readonly string[];
  readonly woken: readonly string[];
  /** A request as the ingress sends it. */
  readonly ask: (options?: AskOptions) => Promise<Answer>;
  readonly open: (options?: AskOptions) => ReturnType<typeof request>;
};

export type Answer = {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
};
export type AskOptions = Pick<RequestOptions, "method" | "path"> & {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
};

export type WakerOptions = {
  readonly port: number;
  readonly limits?: Partial<IngressRoute["limits"]>;
  readonly onWake?: (service: string) => Promise<void>;
  readonly wakeProcess?: (processId: string) => boolean;
  readonly sendProxyProtocol?: boolean;
};

const NODE = "node-1";

/** A wake server for one service whose processes listen on a port of loopback. */
export async function aWaker(options: WakerOptions): Promise<TestWaker> {
  const folder = aTemporaryDirectory();
  const socketPath = join(folder.path, "waker.sock");
  const listeners: NetworkListener[] = [];
  const asked: string[] = [];
  const woken: string[] = [];
  const serviceOf = (...endpoints: readonly Partial<Endpoint>[]): NetworkState["services"] =>
    new Map([
      [
        "service-1",
        aService({
          wakes: true,
          ports: [{ name: "http", containerPort: options.port, protocol: "tcp" }],
          endpoints: endpoints.map(anEndpoint),
        }),
      ],
    ]);
  let state: NetworkState = {
    ...emptyNetwork("epoch-1"),
    services: serviceOf(),
    ingress: { certificates: [], challenges: [], routes: [aRoute(options)] },
  };
  const server = await openWakeServer({
    socketPath,
    logger: createLogger("silent"),
    network: { state: () => state, subscribe: (listener) => void listeners.push(listener) },
    nodeId: NODE,
    random: () => 0,
    wakeProcess: (processId) => {
      woken.push(processId);
      return options.wakeProcess?.(processId) ?? true;
    },
    wakeService: async (service) => {
      asked.push(service);
      await options.onWake?.(service);
    },
  });
  const open: TestWaker["open"] = ({ headers, ...rest } = {}) =>
    request({
      socketPath,
      ...rest,
      headers: { host: "web.default.localhost", "X-Strata-Route": "web", ...headers },
    });
  return {
    server,
    socketPath,
    asked,
    woken,
    open,
    tell: (...endpoints) => {
      const before = state;
      state = { ...state, services: serviceOf(...endpoints) };
      for (const listener of listeners) listener(before, state);
    },
    ask: async ({ body, ...rest } = {}) => {
      const outgoing = open(rest);
      outgoing.end(body);
      const [incoming] = (await once(outgoing, "response")) as [IncomingMessage];
      const text = (await incoming.toArray()).join("");
      return { status: incoming.statusCode ?? 0, headers: incoming.headers, body: text };
    },
    [Symbol.asyncDispose]: async () => {
      await server.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

function aRoute({ limits, sendProxyProtocol = false }: WakerOptions): IngressRoute {
  return {
    id: "web",
    tenant: "default",
    hosts: ["web.default.localhost"],
    path: "/",
    backends: [{ service: "service-1", port: "http", weight: 1 }],
    balance: "leastConnections",
    sticky: false,
    redirectToHttps: false,
    retries: 0,
    sendProxyProtocol,
    limits: {
      answerMsMax: 60_000,
      idleMsMax: 60_000,
      queueMsMax: 60_000,
      queueMax: 100,
      ...limits,
    },
  };
}
