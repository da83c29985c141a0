import { connect } from "node:net";

import { anImage } from "../../support/images.ts";
import { type Framing, type HostileRequest, known } from "./requests.ts";

/** No answer takes so long on any machine: beyond it the request hangs. */
const HANG_MS = 60_000;

const manifest = anImage().manifest.bytes.toString();

/** Status and headers of an answer; status 0 when the connection was closed without one. */
export type RawAnswer = {
  readonly status: number;
  readonly head: string;
  /** The store closed while bytes were on their way to it. The kernel may then lose the answer. */
  readonly reset: boolean;
};

/** Sends the request as bytes, so that nothing is put right on the way, and reads until the connection ends.
 * @throws when it hangs */
export async function exchange(port: number, request: HostileRequest): Promise<RawAnswer> {
  const socket = connect(port, "127.0.0.1");
  const received: Buffer[] = [];
  let hung = false;
  let reset = false;
  socket.on("data", (chunk: Buffer) => received.push(chunk));
  socket.on("error", () => (reset = true));
  socket.setTimeout(HANG_MS, () => {
    hung = true;
    socket.destroy();
  });
  socket.write(format(request));
  // The store waits for the rest of half a request. Of a whole one, Node's server would take the end for a hang-up.
  if (request.framing === "long" || request.framing === "broken") socket.end();
  await new Promise((resolve) => socket.once("close", resolve));
  if (hung) throw new Error(`no answer to ${request.method} ${request.path}`);
  return { ...parseAnswer(Buffer.concat(received)), reset };
}

function parseAnswer(bytes: Buffer): Omit<RawAnswer, "reset"> {
  let from = 0;
  // 100 Continue comes before the answer.
  while (bytes.subarray(from, from + 12).toString() === "HTTP/1.1 100") {
    from = bytes.indexOf("\r\n\r\n", from) + 4;
  }
  const end = bytes.indexOf("\r\n\r\n", from);
  const head = bytes.subarray(from, end).toString("latin1");
  const status = Number(/^HTTP\/1.1 (\d{3}) /.exec(head)?.[1] ?? 0);
  return { status, head };
}

function format({ method, path, query, headers, body, framing }: HostileRequest): Buffer {
  const clean = (text: string): string => text.replaceAll(/[\s\p{Cc}]/gu, "+");
  const fields = Object.entries(headers).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}: ${expand(value)}`],
  );
  const content = Buffer.from(expand(body));
  const { lines, bytes } = frame(content, framing);
  const start = `${method} ${clean(path)}${query === "" ? "" : `?${clean(query)}`} HTTP/1.1`;
  const head = [start, "Host: fuzz", "Connection: close", ...lines, ...fields];
  return Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n`), bytes]);
}

/** What is long stands in a request by a name, or a counterexample would fill the screen. */
export function expand(text: string): string {
  if (text === "KNOWN") return known.toString("latin1");
  if (text === "MANIFEST") return manifest;
  const length = /^(?:LONG|BYTES)-(\d+)$/.exec(text)?.[1];
  return length === undefined ? text : "c".repeat(Number(length));
}

type Framed = { readonly lines: readonly string[]; readonly bytes: Buffer };

function frame(content: Buffer, framing: Framing): Framed {
  const length = (bytes: number): readonly string[] => [`Content-Length: ${bytes}`];
  const chunk = `${content.length.toString(16)}\r\n`;
  switch (framing) {
    case "length":
      return { lines: length(content.length), bytes: content };
    case "short":
      return { lines: length(Math.floor(content.length / 2)), bytes: content };
    case "long":
      return { lines: length(content.length + 10), bytes: content };
    case "chunked":
      return {
        lines: ["Transfer-Encoding: chunked"],
        bytes: Buffer.concat([
          ...(content.length === 0 ? [] : [Buffer.from(chunk), content, Buffer.from("\r\n")]),
          Buffer.from("0\r\n\r\n"),
        ]),
      };
    case "broken":
      return { lines: ["Transfer-Encoding: chunked"], bytes: Buffer.from(`${chunk}xyz`) };
    case "twice":
      return { lines: [...length(3), "Transfer-Encoding: chunked"], bytes: content };
    default:
      return framing satisfies never;
  }
}
