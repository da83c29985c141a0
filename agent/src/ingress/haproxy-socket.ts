import { connect } from "node:net";

import { z } from "zod";

import { AgentError } from "../errors.ts";

/** HAProxy takes a line of one buffer (tune.bufsize). */
const LINE_BYTES_MAX = 12_000;
const ANSWER_BYTES_MAX = 256 * 1024 * 1024;
const ANSWER_MS_MAX = 20_000;
const Chunk = z.instanceof(Buffer);

/** Says one line to a socket of HAProxy and gives all that it answers.
 * @throws AgentError TOOL_FAILED when nobody answers */
export async function askHaproxy(
  path: string,
  line: string,
  msMax: number = ANSWER_MS_MAX,
): Promise<string> {
  const socket = connect(path);
  const timer = setTimeout(() => socket.destroy(new Error("no answer in time")), msMax);
  try {
    const chunks: Buffer[] = [];
    let size = 0;
    socket.end(`${line}\n`);
    for await (const piece of socket) {
      const chunk = Chunk.parse(piece);
      size += chunk.length;
      if (size > ANSWER_BYTES_MAX) throw new Error(`more than ${ANSWER_BYTES_MAX} bytes`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString("utf8");
  } catch (cause) {
    throw new AgentError("TOOL_FAILED", `HAProxy does not answer at ${path}`, { cause });
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

/** Answers of different commands end differently: this one's, said after each, stands between them. */
const MARK = "show cli level";
const MARK_ANSWER = "admin";

/** Says commands, as many as possible at once, and gives the answer of each.
 * @throws AgentError TOOL_FAILED when nobody answers, or not so */
export async function commandHaproxy(
  path: string,
  commands: readonly string[],
): Promise<readonly string[]> {
  const answers: string[] = [];
  for (const batch of makeBatches(commands)) {
    const text = await askHaproxy(path, batch.map((command) => `${command};${MARK}`).join(";"));
    const parts = splitAnswers(text);
    if (parts.length !== batch.length) {
      throw new AgentError(
        "TOOL_FAILED",
        `HAProxy gave ${parts.length} answers to ${batch.length} commands: ${text.slice(0, 500)}`,
      );
    }
    answers.push(...parts);
  }
  return answers;
}

/** Pure. */
function makeBatches(commands: readonly string[]): readonly (readonly string[])[] {
  const batches: string[][] = [];
  let size = LINE_BYTES_MAX;
  for (const command of commands) {
    const own = command.length + MARK.length + 2;
    size += own;
    if (size > LINE_BYTES_MAX) {
      batches.push([]);
      size = own;
    }
    batches.at(-1)?.push(command);
  }
  return batches;
}

/** Pure. */
function splitAnswers(text: string): readonly string[] {
  const answers: string[] = [];
  let lines: string[] = [];
  for (const line of text.split("\n")) {
    if (line === MARK_ANSWER) {
      answers.push(lines.join(" ").trim());
      lines = [];
    } else lines.push(line);
  }
  return answers;
}
