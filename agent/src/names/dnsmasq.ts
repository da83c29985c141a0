import { createSocket } from "node:dgram";
import { closeSync, existsSync, openSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

import { replaceFile } from "../durable-file.ts";
import { AgentError } from "../errors.ts";
import {
  getExecutable,
  identifyProcess,
  isAlive,
  type ProcessIdentity,
  readProcFile,
  sendSignal,
} from "../host/process-table.ts";
import { startDetached } from "../host/run-tool.ts";

const DNSMASQ = "/usr/sbin/dnsmasq";

const START_MS_MAX = 10_000;
const ASK_MS = 20;
const SIGTERM = 15;
/** A query for the address of `a.`, which dnsmasq answers itself: a header with the bit "recursion desired" and one
 * question (RFC 1035, 4.1). */
const QUERY = Buffer.from("53540100000100000000000001610000010001", "hex");

export function hasDnsmasq(): boolean {
  return existsSync(DNSMASQ);
}

export type DnsmasqStart = {
  /** Of the node's bridge; dnsmasq listens at no other. */
  readonly address: string;
  readonly port: number;
  /** What it answers. */
  readonly names: string;
  /** Where its configuration is written; what it says goes beside. */
  readonly path: string;
};

/** Starts a dnsmasq that outlives the agent, and resolves when it answers. It reads its file as root and goes on as
 * nobody.
 * @throws AgentError TOOL_FAILED */
export async function startDnsmasq(start: DnsmasqStart): Promise<ProcessIdentity> {
  const { address, port, names, path } = start;
  const listening = ["keep-in-foreground", "bind-interfaces", "pid-file=", "log-facility=-"];
  const lines = [...listening, `listen-address=${address}`, `port=${port}`];
  replaceFile(path, `${lines.join("\n")}\n${names}`);
  const logFd = openSync(`${path}.log`, "w", 0o600);
  try {
    const child = startDetached(DNSMASQ, [`--conf-file=${path}`], { logFd });
    // Nobody answers then, and that is said below.
    child.once("error", () => undefined);
    const identity = child.pid === undefined ? undefined : identifyProcess(child.pid);
    if (identity !== undefined && (await untilAnswered(start, identity))) return identity;
    if (identity !== undefined) endDnsmasq(identity);
  } finally {
    closeSync(logFd);
  }
  const words = (readProcFile(`${path}.log`) ?? "").trim().slice(-300);
  throw new AgentError("TOOL_FAILED", `dnsmasq does not answer at ${address}: ${words}`);
}

/** False when it ended before, or never answers. */
async function untilAnswered(
  { address, port }: DnsmasqStart,
  identity: ProcessIdentity,
): Promise<boolean> {
  using question = openQuestion(address, port);
  const deadline = performance.now() + START_MS_MAX;
  while (isAlive(identity) && performance.now() < deadline) {
    if (await question.ask()) return true;
  }
  return false;
}

/** Ends what is still the same process. Safe to repeat. */
export function endDnsmasq(identity: ProcessIdentity): void {
  if (isDnsmasq(identity)) sendSignal(identity.pid, SIGTERM);
}

export function isDnsmasq(identity: ProcessIdentity): boolean {
  return isAlive(identity) && getExecutable(identity.pid) === DNSMASQ;
}

/** A port of this address that nobody has. */
export async function findFreePort(address: string): Promise<number> {
  const socket = createSocket("udp4");
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.bind(0, address, resolve);
    });
    return socket.address().port;
  } finally {
    socket.close();
  }
}

type Question = Disposable & {
  /** Asks once more; whether there was ever an answer. */
  readonly ask: () => Promise<boolean>;
};

function openQuestion(address: string, port: number): Question {
  const socket = createSocket("udp4");
  const { promise: answered, resolve } = Promise.withResolvers<boolean>();
  socket.once("message", () => resolve(true));
  // Nobody listens yet.
  socket.on("error", () => undefined);
  socket.unref();
  return {
    ask: async () => {
      socket.send(QUERY, port, address, () => undefined);
      return await Promise.race([answered, delay(ASK_MS, false)]);
    },
    [Symbol.dispose]: () => void socket.close(),
  };
}
