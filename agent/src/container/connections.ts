/** Connections to the ports of a process. Its tables of connections cost milliseconds each, however few there are: for
 * them the kernel walks those of the whole machine. How many sockets there are costs next to nothing. */
import { readProcFile } from "../host/process-table.ts";

export type Counted = {
  readonly connections: number;
  /** Of each family, in any state; undefined where the kernel does not say. */
  readonly sockets: readonly (number | undefined)[];
  readonly atMs: number;
};

export type CountOptions = {
  /** TCP ports in the container. */
  readonly ports: readonly number[];
  readonly uptimeMs: number;
  /** What was counted last. */
  readonly before: Counted | undefined;
};

const families = [
  { sockets: "sockstat", line: "TCP", table: "tcp" },
  { sockets: "sockstat6", line: "TCP6", table: "tcp6" },
] as const;
/** One that came while another went leaves the number of sockets as it was: that is found out after so long. */
const RECOUNT_MS = 1000;

/** In the network namespace of the process; undefined when it is gone. */
export function countConnections(
  pid: number,
  { ports, uptimeMs: atMs, before }: CountOptions,
): Counted | undefined {
  if (ports.length === 0) return { connections: 0, sockets: [], atMs };
  const read = (name: string): string | undefined => readProcFile(`/proc/${pid}/net/${name}`);
  const sockets = families.map(({ sockets: name, line }) => parseSockets(read(name) ?? "", line));
  const isSame = before?.sockets.every((count, index) => count === sockets[index]) ?? false;
  if (isSame && before !== undefined && atMs - before.atMs < RECOUNT_MS) return before;
  // A family without any socket has no connection.
  const tables = families.map(({ table }, index) => (sockets[index] === 0 ? "" : read(table)));
  if (tables.every((table) => table === undefined)) return undefined;
  const wanted = new Set(ports);
  const connections = tables.reduce((sum, table) => sum + countEstablished(table ?? "", wanted), 0);
  return { connections, sockets, atMs };
}

/** Of `/proc/net/sockstat`: a line such as `TCP: inuse 12 orphan 0`. */
function parseSockets(text: string, line: string): number | undefined {
  const count = new RegExp(`^${line}: inuse (\\d+)`, "m").exec(text)?.[1];
  return count === undefined ? undefined : Number(count);
}

/** The kernel's number for a connection in both directions (include/net/tcp_states.h). */
const ESTABLISHED = "01";

/** Rows of `/proc/net/tcp` whose own port is one of `ports`. Exported for its test. */
export function countEstablished(table: string, ports: ReadonlySet<number>): number {
  let count = 0;
  for (const line of table.split("\n").slice(1)) {
    const [, local = "", , state] = line.trim().split(/\s+/);
    const port = Number.parseInt(local.slice(local.lastIndexOf(":") + 1), 16);
    if (state === ESTABLISHED && ports.has(port)) count += 1;
  }
  return count;
}
