import { Socket } from "node:net";
import process from "node:process";

/** Copies part of a file to a socket inside the kernel, with sendfile(2). Node has no such call of its own, so it goes
 * through `node:ffi`: it costs a third of the CPU of reading and writing, and no buffer.
 * Gives the bytes that the socket took: 0 when it takes none now, or when nothing can be told but by reading. */
export type KernelCopy = (target: Socket, source: FilePart) => number;

export type FilePart = {
  readonly descriptor: number;
  readonly position: number;
  readonly lengthBytes: number;
};

/** Taken at once at most: more would keep the other clients waiting. */
export const KERNEL_COPY_BYTES = 1024 * 1024;
/** A call that takes so long waited for a disk, and everybody with it: then other ways are better for a while. */
const SLOW_MS = 20;
const REST_MS = 500;

type SendFile = (
  ...arguments_: readonly [target: number, source: number, offset: Uint8Array, count: bigint]
) => bigint;

/** Undefined where the system has no sendfile(2) or the runtime no way to call it. */
export function createKernelCopy(): KernelCopy | undefined {
  const sendFile = loadSendFile();
  if (sendFile === undefined) return undefined;
  const offset = new BigInt64Array(1);
  const offsetBytes = new Uint8Array(offset.buffer);
  let restUntil = 0;
  return (target, { descriptor, position, lengthBytes }) => {
    const socket = readyDescriptor(target);
    const startedAt = performance.now();
    if (socket === undefined || startedAt < restUntil) return 0;
    offset[0] = BigInt(position);
    const count = BigInt(Math.min(lengthBytes, KERNEL_COPY_BYTES));
    const taken = Number(sendFile(socket, descriptor, offsetBytes, count));
    const endedAt = performance.now();
    if (endedAt - startedAt > SLOW_MS) restUntil = endedAt + REST_MS;
    return Math.max(0, taken);
  };
}

/** Whether the kernel's bytes would be what the client reads: behind TLS they would come without encryption. */
export function isPlain(socket: Socket | null): socket is Socket {
  return socket !== null && socket.constructor === Socket;
}

function loadSendFile(): SendFile | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    const ffi = withoutWarning(() => process.getBuiltinModule("node:ffi"));
    return ffi?.dlopen(null, {
      sendfile: { arguments: ["i32", "i32", "pointer", "u64"], return: "i64" },
    }).functions.sendfile;
  } catch {
    // Built without it, or forbidden by a flag: everything works by reading and writing too.
    return undefined;
  }
}

/** It would say at each start that the module is experimental; here there is another way when it goes. */
function withoutWarning<Result>(body: () => Result): Result {
  const emit = Object.getOwnPropertyDescriptor(process, "emitWarning");
  process.emitWarning = () => undefined;
  try {
    return body();
  } finally {
    if (emit !== undefined) Object.defineProperty(process, "emitWarning", emit);
  }
}

/** The number of a plain TCP socket that is open and has nothing of Node's own left to send; a number is never kept,
 * because the kernel gives it to another connection once this one is closed. */
function readyDescriptor(socket: Socket): number | undefined {
  if (!isPlain(socket) || socket.destroyed || socket.writableLength > 0) return undefined;
  return parseDescriptor(socket);
}

function parseDescriptor(socket: object): number | undefined {
  // Node has no public name for it; any other shape of a later version is undefined here, and reading takes over.
  const handle = (socket as { readonly _handle?: { readonly fd?: unknown } | null })._handle;
  const descriptor = handle?.constructor.name === "TCP" ? handle.fd : undefined;
  return typeof descriptor === "number" && descriptor >= 0 ? descriptor : undefined;
}
