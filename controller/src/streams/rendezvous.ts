/** Where two connections meet: somebody's wish to see logs or to run a command, and the one that the agent opens for
 * it. Wishes live in memory only: who made them waits on his own connection. */
import type { Duplex } from "node:stream";

import type { StreamRequest } from "@strata/protocol/agent/messages";

import { ControllerError } from "../errors.ts";

/** A wish without its id. */
export type StreamWish = StreamRequest extends infer Request
  ? Request extends StreamRequest
    ? Omit<Request, "id">
    : never
  : never;

export type Rendezvous = {
  /** Resolves with the agent's connection, already switched to frames. The caller ends it.
   * @throws ControllerError STREAM_TIMEOUT, TOO_MANY, STOPPING */
  readonly open: (nodeId: string, wish: StreamWish, signal?: AbortSignal) => Promise<Duplex>;
  /** What the node has not opened yet, for its next answer. */
  readonly pendingFor: (nodeId: string) => StreamRequest[];
  /** Hands the agent's connection over. False when nobody waits for it (any more). */
  readonly accept: (nodeId: string, streamId: string, socket: Duplex) => boolean;
  readonly close: () => void;
};

export type RendezvousOptions = {
  readonly newId: () => string;
  /** Makes the node ask for its assignments now. */
  readonly callNode: (nodeId: string) => void;
  readonly openMsMax: number;
  readonly pendingPerNodeMax: number;
};

type Pending = {
  readonly request: StreamRequest;
  readonly resolve: (socket: Duplex) => void;
  readonly reject: (error: ControllerError) => void;
};

export function createRendezvous(options: RendezvousOptions): Rendezvous {
  const nodes = new Map<string, Map<string, Pending>>();
  let closed = false;
  const remove = (nodeId: string, streamId: string): Pending | undefined => {
    const streams = nodes.get(nodeId);
    const pending = streams?.get(streamId);
    streams?.delete(streamId);
    if (streams?.size === 0) nodes.delete(nodeId);
    return pending;
  };
  return {
    open: async (nodeId, wish, signal) => {
      if (closed) throw stopping();
      const streams = nodes.get(nodeId) ?? new Map<string, Pending>();
      if (streams.size >= options.pendingPerNodeMax) throw tooMany();
      const request: StreamRequest = { ...wish, id: `stream-${options.newId()}` };
      const { promise, resolve, reject } = Promise.withResolvers<Duplex>();
      streams.set(request.id, { request, resolve, reject });
      nodes.set(nodeId, streams);
      // Taken off the list before it is refused, so that no connection is accepted for nobody.
      const abandon = (): void => remove(nodeId, request.id)?.reject(timedOut(options.openMsMax));
      const timer = setTimeout(abandon, options.openMsMax);
      signal?.addEventListener("abort", abandon, { once: true });
      try {
        options.callNode(nodeId);
        return await promise;
      } catch (error) {
        remove(nodeId, request.id);
        throw error;
      } finally {
        clearTimeout(timer);
        signal?.removeEventListener("abort", abandon);
      }
    },
    pendingFor: (nodeId) => [...(nodes.get(nodeId)?.values() ?? [])].map(({ request }) => request),
    accept: (nodeId, streamId, socket) => {
      const pending = remove(nodeId, streamId);
      pending?.resolve(socket);
      return pending !== undefined;
    },
    close: () => {
      closed = true;
      for (const streams of nodes.values())
        for (const { reject } of streams.values()) reject(stopping());
    },
  };
}

function timedOut(afterMs: number): ControllerError {
  return new ControllerError("STREAM_TIMEOUT", `the node opened no connection in ${afterMs} ms`, {
    hint: "see whether it is ready: GET /v1/nodes",
    retryable: true,
  });
}

function tooMany(): ControllerError {
  return new ControllerError("TOO_MANY", "too many logs and commands wait for this node", {
    hint: "try again in a moment",
    retryable: true,
  });
}

function stopping(): ControllerError {
  return new ControllerError("STOPPING", "the controller is stopping", {
    hint: "try again in a moment",
    retryable: true,
  });
}
