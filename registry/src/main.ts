/** The store on its own: an OCI registry without the rest of Strata. */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";

import { getRequestListener } from "@hono/node-server";
import { CodedError, getErrorCode } from "@strata/protocol/errors";

import { createRegistry, type Registry } from "./create-registry.ts";
import { createFsBlobStore } from "./drivers/fs-blob-store.ts";
import { createSqliteMetadataStore } from "./drivers/sqlite-metadata-store.ts";
import { setAsideDamaged } from "./drivers/sqlite/set-aside-damaged.ts";
import { fsck } from "./fsck.ts";
import type { RegistryLogger } from "./logger.ts";

const help = `Usage: node registry/src/main.ts [serve] [--data DIR] [--host ADDRESS] [--port PORT]
       node registry/src/main.ts fsck [--data DIR] [--deep]

An OCI registry without the rest of Strata. Anyone who reaches the address may push and delete.
fsck makes lost or damaged metadata anew from the journal, and holds it against the blobs on the disk. The store must
not run meanwhile. It exits with 1 when blobs are lost.
  --data   where blobs and metadata are kept [STRATA_STORE_DATA, /var/lib/strata/store]
  --host   address to listen on [STRATA_STORE_HOST, 127.0.0.1]
  --port   port, 0 for any free one [STRATA_STORE_PORT, 5000]
  --deep   hash every blob, and not only look at its length
`;

const SWEEP_INTERVAL_MS = 5 * 60_000;
/** What requests under way may still take when the registry is told to stop. */
const STOP_MS_MAX = 10_000;
const HEADERS_MS_MAX = 10_000;

const logger: RegistryLogger = {
  warn: (fields, message) => log("warn", { message, fields }),
  error: (fields, message) => log("error", { message, fields }),
};

type Settings = {
  readonly command: "serve" | "fsck";
  readonly data: string;
  readonly host: string;
  readonly port: number;
  readonly deep: boolean;
};

try {
  const settings = parseSettings(process.argv.slice(2));
  if (settings === "help") process.stdout.write(help);
  else if (settings.command === "fsck") process.exitCode = await runFsck(settings);
  else await serve(settings);
} catch (error) {
  const hint = error instanceof CodedError ? error.hint : undefined;
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(`error: ${message}${hint === undefined ? "" : `\n${hint}`}\n`);
  process.exitCode = 1;
}

function parseSettings(args: readonly string[]): Settings | "help" {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      data: { type: "string" },
      host: { type: "string" },
      port: { type: "string" },
      deep: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
  });
  const { env } = process;
  if (values.help === true) return "help";
  return {
    command: parseCommand(positionals),
    deep: values.deep ?? false,
    data: values.data ?? env["STRATA_STORE_DATA"] ?? "/var/lib/strata/store",
    host: values.host ?? env["STRATA_STORE_HOST"] ?? "127.0.0.1",
    port: parsePort(values.port ?? env["STRATA_STORE_PORT"] ?? "5000"),
  };
}

function parseCommand(words: readonly string[]): Settings["command"] {
  const [command = "serve", ...rest] = words;
  if (rest.length === 0 && (command === "serve" || command === "fsck")) return command;
  throw new CodedError("INVALID", `there is no command ${JSON.stringify(words.join(" "))}`, {
    hint: "see --help",
  });
}

function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port <= 65_535) return port;
  throw new CodedError("INVALID", `port ${JSON.stringify(text)} is not a number`, {
    hint: "give one from 0 to 65535",
  });
}

async function serve({ data, host, port }: Settings): Promise<void> {
  mkdirSync(data, { recursive: true, mode: 0o700 });
  const metadata = createSqliteMetadataStore(join(data, "store.db"), {
    onRecovered: (recovery) => logger.warn(recovery, "metadata brought up to its journal"),
  });
  const registry = createRegistry({
    blobs: await createFsBlobStore(data),
    metadata,
    authorize: () => ({ kind: "allowed", subject: "anyone" }),
    clock: Date.now,
    newId: randomUUID,
    logger,
  });
  await registry.sweepBlobs();
  await registry.sweepUploads();
  const listener = getRequestListener(registry.app.fetch);
  const server = createServer(
    { requestTimeout: 0, headersTimeout: HEADERS_MS_MAX },
    // It answers its own errors, so its promise is of no interest.
    (incoming, outgoing) => void listener(incoming, outgoing),
  );
  try {
    await listen(server, { host, port });
  } catch (error) {
    registry.close();
    throw error;
  }
  stopOnSignal(server, registry);
}

/** Gives the exit status. */
async function runFsck({ data, deep }: Settings): Promise<number> {
  const broken = setAsideDamaged(join(data, "store.db"));
  if (broken !== undefined) process.stdout.write(`damaged database kept as ${broken}\n`);
  const metadata = createSqliteMetadataStore(join(data, "store.db"), {
    onRecovered: ({ replayed, damaged }) =>
      process.stdout.write(`journal: ${replayed} lines replayed, ${damaged} damaged\n`),
  });
  try {
    const blobs = await createFsBlobStore(data);
    const report = await fsck({ blobs, metadata, clock: Date.now }, { deep });
    const { lost, restored, unnamed } = report;
    process.stdout.write(
      `${report.blobs} blobs known, ${lost.length} lost, ${restored.length} restored, ${unnamed} unnamed on the disk\n`,
    );
    for (const digest of lost) process.stdout.write(`lost ${digest}\n`);
    return lost.length === 0 ? 0 : 1;
  } finally {
    metadata.close();
  }
}

async function listen(
  server: Server,
  { host, port }: Pick<Settings, "host" | "port">,
): Promise<void> {
  server.listen(port, host);
  try {
    await once(server, "listening");
  } catch (cause) {
    const code = getErrorCode(cause) ?? "unknown";
    throw new CodedError("LISTEN_FAILED", `cannot listen on ${host} port ${port}: ${code}`, {
      cause,
      hint: "choose another --host or --port",
    });
  }
  const address = server.address();
  const bound = typeof address === "object" && address !== null ? address.port : port;
  process.stdout.write(`listening on http://${host}:${bound}\n`);
}

/** Sweeps from time to time until SIGTERM or SIGINT, then lets requests end and closes. */
function stopOnSignal(server: Server, registry: Registry): void {
  const sweep = setInterval(() => {
    registry.sweepUploads().catch((err: unknown) => logger.error({ err }, "sweep failed"));
  }, SWEEP_INTERVAL_MS);
  const stop = (): void => {
    clearInterval(sweep);
    server.close(() => registry.close());
    server.closeIdleConnections();
    setTimeout(() => server.closeAllConnections(), STOP_MS_MAX).unref();
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
}

type Entry = { readonly message: string; readonly fields: object };

function log(level: string, { message, fields }: Entry): void {
  process.stderr.write(`${JSON.stringify({ level, message, ...fields }, showErrors)}\n`);
}

/** Errors have no enumerable properties of their own, so JSON would show `{}`. */
function showErrors(_key: string, value: unknown): unknown {
  return value instanceof Error
    ? { name: value.name, message: value.message, stack: value.stack, cause: value.cause }
    : value;
}
