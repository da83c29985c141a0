import { createServer, type RequestListener, type Server, type ServerOptions } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";

import { getRequestListener } from "@hono/node-server";

import { limits } from "../config.ts";
import type { ServerCertificate } from "../pki/server-certificate.ts";
import type { UpgradeHandler } from "./upgrade.ts";

export type Listener = {
  readonly port: number;
  /** Takes up a renewed certificate for new connections. */
  readonly setCertificate: (certificate: ServerCertificate) => void;
  /** Takes no more connections, cuts streams off, lets requests end for a while, then cuts them off too. */
  readonly close: () => Promise<void>;
};

export type ListenOptions = {
  readonly fetch: Parameters<typeof getRequestListener>[0];
  readonly onUpgrade: UpgradeHandler;
  /** Left out, plain HTTP. */
  readonly certificate?: ServerCertificate | undefined;
  readonly port: number;
  /** Left out, all addresses. */
  readonly host?: string | undefined;
};

/** Uploads take as long as they take: they and JSON bodies have deadlines of their own. Heads have 10 s in all. */
const serverOptions: ServerOptions = {
  requestTimeout: 0,
  headersTimeout: 8000,
  connectionsCheckingInterval: 2000,
  keepAliveTimeout: 75_000,
  maxHeaderSize: 16 * 1024,
};

export async function listen(options: ListenOptions): Promise<Listener> {
  const handle = getRequestListener(options.fetch, { overrideGlobalObjects: false });
  // It answers its own errors, so its promise is of no interest.
  const onRequest: RequestListener = (incoming, outgoing) => void handle(incoming, outgoing);
  const { certificate } = options;
  const tls = certificate === undefined ? undefined : createTls(certificate, onRequest);
  const server: Server = tls ?? createServer(serverOptions, onRequest);
  server.maxHeadersCount = 100;
  server.maxConnections = limits.connectionsMax;
  const streams = new Set<Duplex>();
  server.on("upgrade", (request, socket, head) => {
    streams.add(socket);
    socket.once("close", () => streams.delete(socket));
    options.onUpgrade(request, socket, head);
  });
  const listening = Promise.withResolvers<void>();
  server.once("error", listening.reject);
  server.listen({ port: options.port, host: options.host }, listening.resolve);
  await listening.promise;
  server.off("error", listening.reject);
  return {
    port: portOf(server.address()),
    setCertificate: (renewed) => tls?.setSecureContext(secureContext(renewed)),
    close: () => close(server, streams),
  };
}

function createTls(
  certificate: ServerCertificate,
  onRequest: RequestListener,
): ReturnType<typeof createTlsServer> {
  return createTlsServer(
    { ...serverOptions, ...secureContext(certificate), handshakeTimeout: 10_000 },
    onRequest,
  );
}

function secureContext({ chainPem, keyPem }: ServerCertificate): {
  cert: string;
  key: string;
  minVersion: "TLSv1.2";
} {
  return { cert: chainPem, key: keyPem, minVersion: "TLSv1.2" };
}

function portOf(address: string | AddressInfo | null): number {
  return typeof address === "object" && address !== null ? address.port : 0;
}

async function close(server: Server, streams: ReadonlySet<Duplex>): Promise<void> {
  const closed = Promise.withResolvers<void>();
  server.close(() => closed.resolve());
  // Node knows nothing more of connections that were upgraded, but waits for them.
  for (const stream of streams) stream.destroy();
  // A connection whose last request ends now would otherwise be kept alive.
  const sweeping = setInterval(() => server.closeIdleConnections(), IDLE_SWEEP_MS);
  const cutting = setTimeout(() => server.closeAllConnections(), limits.stopGraceMs);
  await closed.promise;
  clearInterval(sweeping);
  clearTimeout(cutting);
}

const IDLE_SWEEP_MS = 50;
