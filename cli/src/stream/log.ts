/** Logs for a person: whole lines, told apart by their process, unable to do anything to the terminal. */
/* oxlint-disable no-control-regex -- control characters are what is told apart here */
import { once } from "node:events";
import { StringDecoder } from "node:string_decoder";

import type { Context } from "../context.ts";
import { painter, type Style } from "../output/style.ts";

export type Label = { readonly text: string; readonly index: number };

/** A line longer than this is shown in pieces. */
const LINE_CHARACTERS_MAX = 64 * 1024;
export const colors: readonly Style[] = ["cyan", "yellow", "green", "magenta", "blue"];

/** Copies a log to standard output. Into a pipe or a file, one log goes as it is, byte for byte. */
export async function copyLog(
  log: AsyncIterable<Buffer>,
  context: Context,
  label: Label | undefined,
): Promise<void> {
  const { stdout } = context;
  const isTerminal = stdout.isTTY === true;
  const write = async (text: string | Buffer): Promise<void> => {
    if (!stdout.write(text)) await once(stdout, "drain");
  };
  if (!isTerminal && label === undefined) {
    for await (const chunk of log) await write(chunk);
    return;
  }
  const color = colors[(label?.index ?? 0) % colors.length] ?? "cyan";
  const prefix = label === undefined ? "" : `${painter(context, stdout)(color, label.text)} | `;
  for await (const line of linesOf(log)) {
    await write(`${prefix}${isTerminal ? withoutControls(line) : line}\n`);
  }
}

/** Lines without their ends; the last one may have had none. */
export async function* linesOf(chunks: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  for await (const chunk of chunks) {
    const lines = (rest + decoder.write(chunk)).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
    if (rest.length <= LINE_CHARACTERS_MAX) continue;
    yield rest;
    rest = "";
  }
  rest += decoder.end();
  if (rest !== "") yield rest;
}

const controls =
  /\u001b\[[0-9;]*m|\u001b\[[0-?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

/** Keeps colours and tabs; what else moves cursors, sets titles or rings bells is taken out. */
export function withoutControls(line: string): string {
  return line.replaceAll(controls, (found) => (/^\u001b\[[0-9;]*m$/.test(found) ? found : ""));
}
