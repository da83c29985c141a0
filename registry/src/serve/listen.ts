import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type RequestListener, type Server, type ServerOptions } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { createSecureContext } from "node:tls";

import { getErrorCode } from "@strata/protocol/errors";

import { ServeError } from "./errors.ts";
import { watchFiles } from "./watched-file.ts";

export type TlsFiles = { readonly certificate: string; readonly key: string };

export type ListenOptions = {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Left out, plain HTTP. */
  readonly tls: TlsFiles | undefined;
  readonly onRequest: RequestListener;
};

export type Listener = {
  readonly url: string;
  /** Takes up certificates that were replaced. @throws ServeError CONFIG_INVALID; the old ones stay in use then */
  readonly refresh: () => void;
  /** Lets requests end for 10 s, then cuts them off. */
  readonly close: () => Promise<void>;
};

/** Bodies have deadlines of their own. */
const serverOptions: ServerOptions = {
  requestTimeout: 0,
  // Together: whoever has not sent its headers after ten seconds is cut off. Node looks every 30 s by itself.
  headersTimeout: 8_000,
  connectionsCheckingInterval: 2_000,
  maxHeaderSize: 16 * 1024,
};
const CONNECTIONS_MAX = 20_000;
const STOP_MS_MAX = 10_000;

/** @throws ServeError LISTEN_FAILED, CONFIG_INVALID */
export async function listen({ host, port, tls, onRequest }: ListenOptions): Promise<Listener> {
  const opened = tls === undefined ? openPlain(onRequest) : openTls(tls, onRequest);
  const { server, scheme, refresh } = opened;
  server.maxHeadersCount = 100;
  server.maxConnections = CONNECTIONS_MAX;
  server.listen(port, host);
  try {
    await once(server, "listening");
  } catch (cause) {
    const code = getErrorCode(cause) ?? "unknown";
    throw new ServeError("LISTEN_FAILED", `cannot listen on ${host} port ${port}: ${code}`, {
      cause,
      hint: "choose another --host or --port",
    });
  }
  const address = server.address();
  const bound = typeof address === "object" && address !== null ? address.port : port;
  return {
    url: `${scheme}://${host.includes(":") ? `[${host}]` : host}:${bound}`,
    refresh,
    close: () => close(server),
  };
}

type Opened = Pick<Listener, "refresh"> & { readonly server: Server; readonly scheme: string };

function openPlain(onRequest: RequestListener): Opened {
  const server = createServer(serverOptions, onRequest);
  return { server, scheme: "http", refresh: () => undefined };
}

function openTls(files: TlsFiles, onRequest: RequestListener): Opened {
  const watched = watchFiles([files.certificate, files.key], () => readTls(files));
  const options = { ...serverOptions, ...watched.value(), handshakeTimeout: 10_000 };
  const server = createTlsServer(options, onRequest);
  return {
    server,
    scheme: "https",
    refresh: () => {
      if (watched.refresh()) server.setSecureContext(watched.value());
    },
  };
}

type TlsContext = {
  readonly cert: string;
  readonly key: string;
  readonly minVersion: "TLSv1.2";
};

function readTls({ certificate, key }: TlsFiles): TlsContext {
  try {
    const context: TlsContext = {
      cert: readFileSync(certificate, "utf8"),
      key: readFileSync(key, "utf8"),
      minVersion: "TLSv1.2",
    };
    // Says now whether they fit each other.
    createSecureContext(context);
    return context;
  } catch (cause) {
    throw new ServeError("CONFIG_INVALID", `${certificate} and ${key} cannot be used for TLS`, {
      cause,
      hint: "give a certificate with its chain and its key, both as PEM and readable",
    });
  }
}

async function close(server: Server): Promise<void> {
  const closed = once(server, "close");
  server.close();
  const sweeping = setInterval(() => server.closeIdleConnections(), 50);
  const cutting = setTimeout(() => server.closeAllConnections(), STOP_MS_MAX);
  await closed;
  clearInterval(sweeping);
  clearTimeout(cutting);
}
