import { randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";

import { getRequestListener } from "@hono/node-server";

import { createRegistry } from "./create-registry.ts";
import { createFsBlobStore } from "./drivers/fs-blob-store.ts";
import { createSqliteMetadataStore } from "./drivers/sqlite-metadata-store.ts";

const help = `Usage: node registry/src/main.ts [--data DIR] [--host ADDRESS] [--port PORT]

An OCI registry without the rest of Strata. Anyone who reaches the address may push and delete.
  --data   where blobs and metadata are kept [STRATA_STORE_DATA, /var/lib/strata/store]
  --host   address to listen on [STRATA_STORE_HOST, 127.0.0.1]
  --port   port, 0 for any free one [STRATA_STORE_PORT, 5000]
`;

const SWEEP_INTERVAL_MS = 5 * 60_000;
const STOP_MS_MAX = 10_000;
const HEADERS_TIMEOUT_MS = 10_000;

const { values } = parseArgs({
  options: {
    data: { type: "string" },
    host: { type: "string" },
    port: { type: "string" },
    help: { type: "boolean", short: "h" },
  },
});
if (values.help === true) {
  process.stdout.write(help);
} else {
  const { env } = process;
  await serve({
    data: values.data ?? env["STRATA_STORE_DATA"] ?? "/var/lib/strata/store",
    host: values.host ?? env["STRATA_STORE_HOST"] ?? "127.0.0.1",
    port: parsePort(values.port ?? env["STRATA_STORE_PORT"] ?? "5000"),
  });
}

function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port <= 65_535) return port;
  throw new TypeError(`port ${JSON.stringify(text)} is not a number from 0 to 65535`);
}

type ServeOptions = { readonly data: string; readonly host: string; readonly port: number };

async function serve({ data, host, port }: ServeOptions): Promise<void> {
  mkdirSync(data, { recursive: true, mode: 0o700 });
  const registry = createRegistry({
    blobs: await createFsBlobStore(data),
    metadata: createSqliteMetadataStore(join(data, "store.db")),
    authorize: () => ({ kind: "allowed", subject: "anyone" }),
    clock: Date.now,
    newId: randomUUID,
    logger: {
      warn: (fields, message) => log("warn", { message, fields }),
      error: (fields, message) => log("error", { message, fields }),
    },
  });
  const sweep = (): void => {
    registry
      .sweepUploads()
      .catch((error: unknown) => log("error", { message: "sweep failed", fields: { error } }));
  };
  await registry.sweepBlobs();
  sweep();
  const timer = setInterval(sweep, SWEEP_INTERVAL_MS);
  const listener = getRequestListener(registry.app.fetch);
  const server = createServer(
    { requestTimeout: 0, headersTimeout: HEADERS_TIMEOUT_MS },
    // It answers its own errors, so its promise is of no interest.
    (incoming, outgoing) => void listener(incoming, outgoing),
  );
  server.listen(port, host, () => {
    const address = server.address();
    const where = typeof address === "object" && address !== null ? address.port : port;
    process.stdout.write(`listening on http://${host}:${where}\n`);
  });
  const stop = (): void => {
    clearInterval(timer);
    server.close(() => registry.close());
    server.closeIdleConnections();
    setTimeout(() => server.closeAllConnections(), STOP_MS_MAX).unref();
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
}

function log(
  level: string,
  { message, fields }: { readonly message: string; readonly fields: object },
): void {
  process.stderr.write(`${level}: ${message} ${JSON.stringify(fields, showErrors)}\n`);
}

/** Errors have no enumerable properties, so JSON would show `{}`. */
function showErrors(_key: string, value: unknown): unknown {
  return value instanceof Error
    ? { name: value.name, message: value.message, cause: value.cause }
    : value;
}
