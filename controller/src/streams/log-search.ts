/** A search in the logs of many processes: each node looks through its own, here the lines come together. */
import type { Duplex } from "node:stream";

import {
  FoundLine,
  type LogSearch,
  LogSearchEnd,
  LogSearchHead,
} from "@strata/protocol/agent/log-search";
import type { LogSearchAnswer } from "@strata/protocol/api/logs";
import { getErrorCode } from "@strata/protocol/errors";

import { answeredWithin, collectOutput } from "./frames.ts";

export type SearchedProcess = { readonly id: string; readonly node: string | null };

export type LogSearchOptions<Process extends SearchedProcess> = {
  readonly processes: readonly Process[];
  readonly search: LogSearch;
  /** A connection over which the process's node sends what it finds. @throws ControllerError */
  readonly open: (process: Process) => Promise<Duplex>;
};

/** Nodes asked at the same time. */
const ASKED_MAX = 16;
/** Longer than an agent searches. */
const ANSWER_MS_MAX = 30_000;
/** Of one process: its lines as JSON. */
const ANSWER_BYTES_MAX = 32 * 1024 * 1024;
/** Of the lines of all processes that are held at once; those found last stay. */
const HELD_CHARACTERS_MAX = 32 * 1024 * 1024;

type Item = LogSearchAnswer["items"][number] & { readonly atMs: number };
type Missing = LogSearchAnswer["missing"][number];

/** Asks every process's node; one that does not answer is named, and the others' lines are given all the same. */
export async function searchLogs<Process extends SearchedProcess>(
  options: LogSearchOptions<Process>,
): Promise<LogSearchAnswer> {
  const { processes, search } = options;
  let items: readonly Item[] = [];
  let truncated = false;
  const missing: Missing[] = [];
  const waiting = [...processes];
  const askNext = async (): Promise<void> => {
    for (let process = waiting.shift(); process !== undefined; process = waiting.shift()) {
      const found = await askOne(options, process);
      missing.push(...found.missing);
      const merged = lastOf([...items, ...found.items].toSorted(byTime), search.tail);
      truncated ||= found.truncated || merged.isCut;
      items = merged.items;
    }
  };
  await Promise.all(Array.from({ length: ASKED_MAX }, askNext));
  return {
    items: items.map(({ atMs: _atMs, ...item }) => item),
    truncated,
    missing: missing.toSorted((one, other) => one.process.localeCompare(other.process)),
  };
}

/** Lines of one process keep their order: the sort is stable, and their times never go back. */
function byTime(one: Item, other: Item): number {
  return one.atMs - other.atMs;
}

function lastOf(
  items: readonly Item[],
  count: number,
): { readonly items: readonly Item[]; readonly isCut: boolean } {
  let from = Math.max(0, items.length - count);
  let size = 0;
  for (let at = items.length - 1; at >= from; at -= 1) {
    size += items[at]?.text.length ?? 0;
    if (size > HELD_CHARACTERS_MAX) from = at + 1;
  }
  return { items: items.slice(from), isCut: from > 0 };
}

type FoundIn = {
  readonly items: readonly Item[];
  readonly truncated: boolean;
  readonly missing: readonly Missing[];
};

async function askOne<Process extends SearchedProcess>(
  { open }: LogSearchOptions<Process>,
  process: Process,
): Promise<FoundIn> {
  const { id, node } = process;
  const absent = (code: string, message: string): Missing => ({ process: id, node, code, message });
  try {
    const socket = await open(process);
    const text = await answeredWithin(
      ANSWER_MS_MAX,
      socket,
      collectOutput(socket, ANSWER_BYTES_MAX),
    );
    const answer = parseFound(text);
    if (answer === undefined)
      return none(absent("AGENT_TOO_OLD", "the node's agent cannot search logs: upgrade it"));
    const { lines, truncated, timedOut } = answer;
    const late = absent("STREAM_TIMEOUT", "the search took too long; older lines were not read");
    return {
      items: lines.map(({ atMs, text: line }) => ({
        at: new Date(atMs).toISOString(),
        process: id,
        node: node ?? "",
        text: line,
        atMs,
      })),
      truncated,
      missing: timedOut ? [late] : [],
    };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return none(absent(getErrorCode(error) ?? "STREAM_FAILED", message));
  }
}

function none(missing: Missing): FoundIn {
  return { items: [], truncated: false, missing: [missing] };
}

type Answer = LogSearchEnd & { readonly lines: readonly FoundLine[] };

/** Undefined for the plain text of a log, which agents of earlier versions send. @throws for what is neither */
function parseFound(text: string): Answer | undefined {
  const [head = "", ...rest] = text.split("\n");
  if (!isHead(head)) return undefined;
  const end = rest.findLastIndex((line) => line !== "");
  const lines = rest.slice(0, Math.max(0, end)).map((line) => FoundLine.parse(JSON.parse(line)));
  return { lines, ...LogSearchEnd.parse(JSON.parse(rest[end] ?? "")) };
}

function isHead(line: string): boolean {
  try {
    return LogSearchHead.safeParse(JSON.parse(line)).success;
  } catch {
    return false;
  }
}
