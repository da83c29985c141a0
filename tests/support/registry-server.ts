import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

import { getRequestListener } from "@hono/node-server";
import {
  createRegistry,
  type Registry,
  type RegistryOptions,
} from "@strata/registry/create-registry";
import { createFsBlobStore } from "@strata/registry/drivers/fs-blob-store";
import { createMemoryBlobStore } from "@strata/registry/drivers/memory-blob-store";
import { createSqliteMetadataStore } from "@strata/registry/drivers/sqlite-metadata-store";

export type RegistryServer = AsyncDisposable & {
  /** `http://127.0.0.1:port` */
  readonly url: string;
  /** `127.0.0.1:port` */
  readonly host: string;
  readonly registry: Registry;
  /** What the registry logged as a fault of its own. */
  readonly faults: readonly string[];
};

export type RegistryServerOptions = Partial<Omit<RegistryOptions, "logger">> & {
  /** Keeps everything in this folder; in memory when there is none. */
  readonly folder?: string;
  readonly onWarning?: (message: string) => void;
};

/** A registry that listens on loopback. Whoever asks may do everything, unless `authorize` says otherwise. */
export async function aRegistryServer({
  folder,
  onWarning,
  ...options
}: RegistryServerOptions = {}): Promise<RegistryServer> {
  const faults: string[] = [];
  const registry = createRegistry({
    blobs: folder === undefined ? createMemoryBlobStore() : await createFsBlobStore(folder),
    metadata: createSqliteMetadataStore(
      folder === undefined ? ":memory:" : join(folder, "store.db"),
    ),
    authorize: () => ({ kind: "allowed", subject: "tester" }),
    clock: Date.now,
    newId: randomUUID,
    logger: {
      warn: (_fields, message) => onWarning?.(message),
      error: (fields, message) => faults.push(`${message}: ${describe(fields)}`),
    },
    ...options,
  });
  const listener = getRequestListener(registry.app.fetch);
  const server = createServer(
    { requestTimeout: 0 },
    (incoming, outgoing) => void listener(incoming, outgoing),
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const host = `127.0.0.1:${parseAddress(server.address()).port}`;
  return {
    url: `http://${host}`,
    host,
    registry,
    faults,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
      registry.close();
    },
  };
}

function describe(fields: object): string {
  return "err" in fields && fields.err instanceof Error
    ? (fields.err.stack ?? fields.err.message)
    : JSON.stringify(fields);
}

function parseAddress(address: unknown): AddressInfo {
  // A server that listens on TCP has one.
  return address as AddressInfo;
}
