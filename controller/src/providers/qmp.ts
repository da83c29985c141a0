/** One command to a running QEMU by its machine protocol: connect, greet, ask, part. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { createInterface } from "node:readline";

import { z } from "zod";

import { ProviderError } from "./errors.ts";

const Message = z.object({
  return: z.unknown().optional(),
  error: z.object({ class: z.string(), desc: z.string() }).optional(),
});

/** More messages than this before the answer are no sane machine: events come in between. */
const MESSAGE_COUNT_MAX = 1000;

/** Resolves to what the command returned.
 * @throws ProviderError PROVIDER_UNREACHABLE when nobody answers at the socket, PROVIDER_FAILED when it is refused */
export async function askQmp(
  socketPath: string,
  command: Readonly<Record<string, unknown>>,
  signal: AbortSignal,
): Promise<unknown> {
  const socket = connect({ path: socketPath, signal });
  try {
    await once(socket, "connect");
    return await converse(socket, command);
  } catch (cause) {
    if (cause instanceof ProviderError) throw cause;
    throw new ProviderError("PROVIDER_UNREACHABLE", `no QEMU answers at ${socketPath}`, { cause });
  } finally {
    socket.destroy();
  }
}

async function converse(
  socket: Socket,
  command: Readonly<Record<string, unknown>>,
): Promise<unknown> {
  // Both at once: QEMU answers in order, greeting first.
  socket.write(`{"execute": "qmp_capabilities"}\n${JSON.stringify(command)}\n`);
  let answers = 0;
  let messages = 0;
  for await (const line of createInterface({ input: socket })) {
    messages += 1;
    if (messages > MESSAGE_COUNT_MAX) break;
    const message = Message.parse(JSON.parse(line));
    if (message.error !== undefined) {
      throw new ProviderError("PROVIDER_FAILED", `QEMU refuses: ${message.error.desc}`);
    }
    if (message.return === undefined) continue;
    answers += 1;
    if (answers === 2) return message.return;
  }
  throw new ProviderError("PROVIDER_UNREACHABLE", "QEMU ended the conversation");
}
