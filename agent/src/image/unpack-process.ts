import type { Writable } from "node:stream";

import { startPiped, waitForEnd } from "../host/run-tool.ts";
import { isGzip } from "../layer/decompress.ts";
import { packEndMark } from "../layer/end-mark.ts";
import { isLayerErrorCode } from "../layer/errors.ts";
import { type LayerRecord, type UnpackJob, UnpackOutcome } from "../layer/worker-protocol.ts";
import type { SelfCommand } from "../self-exec.ts";
import { PullError } from "./errors.ts";
import { inflateApart } from "./inflate-apart.ts";

/** A running `strata-agent unpack-worker`. */
export type UnpackProcess = {
  /** Resolves when there is room for more. Bytes that come after the process ended are thrown away. */
  readonly write: (chunk: Buffer) => Promise<void>;
  /** Closes its input. To be called when the blob is known to have its digest. */
  readonly end: () => void;
  /** What came of it. Rejects with a PullError, perhaps before `end`. */
  readonly layer: Promise<LayerRecord>;
  /** Ends the process, and resolves when it has let go of its files. */
  readonly stop: () => Promise<void>;
};

const QUEUED_BYTES_MAX = 4 * 1024 * 1024;
const OUTCOME_BYTES_MAX = 1024 * 1024;
const ERRORS_BYTES_MAX = 4096;

export type UnpackProcessOptions = {
  readonly self: SelfCommand;
  readonly job: Omit<UnpackJob, "inflated">;
  /** Leave gzip to `inflateApart`. What is malformed then may be sound to `decompress`. */
  readonly apart: boolean;
};

/** The process starts with the first byte. The caller must call `stop` in the end, also after a success. */
export function startUnpackProcess(options: UnpackProcessOptions): UnpackProcess {
  const { promise: layer, resolve, reject } = Promise.withResolvers<LayerRecord>();
  layer.catch(() => undefined);
  let started: Started | undefined;
  const start = (first: Buffer): Started => {
    started = startChild(options, first);
    started.layer.then(resolve, reject);
    return started;
  };
  return {
    layer,
    write: (chunk) => (started ?? start(chunk)).queue.write(chunk),
    end: () => {
      const { child, endMark } = started ?? start(Buffer.alloc(0));
      child.stdin.end(endMark);
    },
    stop: async () => {
      started?.child.kill("SIGKILL");
      await started?.closed;
    },
  };
}

type Started = {
  readonly child: ReturnType<typeof startPiped>;
  readonly queue: Queue;
  readonly layer: Promise<LayerRecord>;
  readonly closed: Promise<number | string>;
  /** To be written behind the blob. */
  readonly endMark: Buffer;
};

function startChild({ self, job, apart }: UnpackProcessOptions, first: Buffer): Started {
  const worker = (inflated: boolean): SelfCommand => ({
    file: self.file,
    args: [...self.args, "unpack-worker", JSON.stringify({ ...job, inflated })],
  });
  const inflated = apart && isGzip(first);
  const { file, args } = inflated ? inflateApart(worker(true)) : worker(false);
  const child = startPiped(file, args);
  const closed = waitForEnd(child, file).catch((error: unknown) => String(error));
  // It closes its input when it refuses the layer: the outcome says why.
  child.stdin.on("error", () => undefined);
  return {
    child,
    closed,
    queue: new Queue(child.stdin),
    layer: readOutcome({ stdout: child.stdout, stderr: child.stderr, closed }),
    endMark: inflated ? packEndMark(job.blob.digest) : Buffer.alloc(0),
  };
}

/** Lets the download run ahead of the unpacking: on a busy machine each of the two waits for a processor now and then,
 * and should not wait for the other one as well. */
class Queue {
  readonly #stream: Writable;
  #bytes = 0;
  #wake = (): void => undefined;

  constructor(stream: Writable) {
    this.#stream = stream.on("close", () => this.#wake());
  }

  async write(chunk: Buffer): Promise<void> {
    if (this.#stream.destroyed) return;
    this.#bytes += chunk.length;
    this.#stream.write(chunk, () => {
      this.#bytes -= chunk.length;
      this.#wake();
    });
    while (this.#bytes > QUEUED_BYTES_MAX && !this.#stream.destroyed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

async function readOutcome(child: {
  readonly stdout: AsyncIterable<Buffer>;
  readonly stderr: AsyncIterable<Buffer>;
  readonly closed: Promise<number | string>;
}): Promise<LayerRecord> {
  const [text, errors, status] = await Promise.all([
    collect(child.stdout, OUTCOME_BYTES_MAX),
    collect(child.stderr, ERRORS_BYTES_MAX),
    child.closed,
  ]);
  const outcome = parseOutcome(text);
  if (outcome === undefined) {
    throw new PullError(
      "UNPACK_FAILED",
      `the process that unpacks ended with ${status}: ${errors.trim()}`,
      {
        retryable: true,
        hint: "see whether the node has enough memory",
      },
    );
  }
  if (outcome.ok) return outcome.layer;
  const { code, message, hint, retryable } = outcome;
  throw new PullError(isLayerErrorCode(code) ? code : "UNPACK_FAILED", message, {
    retryable,
    ...(hint === undefined ? {} : { hint }),
  });
}

function parseOutcome(text: string): UnpackOutcome | undefined {
  try {
    return UnpackOutcome.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** Reads to the end, and keeps the first `bytesMax`. */
async function collect(stream: AsyncIterable<Buffer>, bytesMax: number): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    if (size < bytesMax) chunks.push(chunk.subarray(0, bytesMax - size));
    size += chunk.length;
  }
  return Buffer.concat(chunks).toString("utf8");
}
