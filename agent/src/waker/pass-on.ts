/** Hands a request that was held to its process, as it came. */
import { type IncomingMessage, request, type ServerResponse } from "node:http";
import { connect as open, isIPv4, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";

import type { IngressRoute } from "@strata/protocol/agent/network";

import type { Target } from "./find-target.ts";

const CONNECT_MS = 3000;

/** A kernel takes connections for what is frozen as well. @throws Error of the system, or a timeout */
export function connect({ host, port }: Target): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = open({ host, port, noDelay: true });
  socket.setTimeout(CONNECT_MS, () => socket.destroy(new Error("no connection in time")));
  socket.once("error", reject);
  socket.once("connect", () => {
    socket.setTimeout(0);
    socket.off("error", reject);
    resolve(socket);
  });
  return promise;
}

export type Passing = {
  readonly route: IngressRoute;
  readonly socket: Socket;
  /** Aborted when the client goes. */
  readonly signal: AbortSignal;
};

/** Resolves when the answer has gone out.
 * @throws Error when the process broke off; `response.headersSent` says whether an answer of ours is still possible. */
export async function passOn(
  incoming: IncomingMessage,
  response: ServerResponse,
  { route, socket, signal }: Passing,
): Promise<void> {
  const { limits } = route;
  introduce(socket, { route, incoming });
  const outgoing = request({
    createConnection: () => socket,
    method: incoming.method ?? "GET",
    path: incoming.url ?? "/",
    headers: ownHeaders(incoming.rawHeaders),
    signal,
  });
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  outgoing.once("response", resolve);
  outgoing.once("error", reject);
  outgoing.setTimeout(limits.answerMsMax, () => outgoing.destroy(new Error("no answer in time")));
  // An answer may come before all of the body was taken.
  pipeline(incoming, outgoing, { signal }).catch(() => undefined);
  const answer = await promise;
  socket.setTimeout(limits.idleMsMax);
  response.writeHead(answer.statusCode ?? 502, answer.statusMessage, ownHeaders(answer.rawHeaders));
  await pipeline(answer, response, { signal });
}

/** An upgrade, such as a WebSocket: from here on only bytes. */
export async function passOnUpgrade(
  incoming: IncomingMessage,
  client: Duplex,
  { head, route, socket, signal }: Passing & { readonly head: Buffer },
): Promise<void> {
  introduce(socket, { route, incoming });
  socket.setTimeout(route.limits.idleMsMax, () => socket.destroy());
  const lines = [`${incoming.method} ${incoming.url} HTTP/1.1`];
  for (const [name, value] of pairs(incoming.rawHeaders))
    if (!isOurs(name)) lines.push(`${name}: ${value}`);
  socket.write(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
  socket.write(head);
  await Promise.all([pipeline(client, socket, { signal }), pipeline(socket, client, { signal })]);
}

/** PROXY protocol 1: where the process wants to be told of the client so. */
function introduce(
  socket: Socket,
  { route, incoming }: { readonly route: IngressRoute; readonly incoming: IncomingMessage },
): void {
  if (!route.sendProxyProtocol) return;
  const from = String(incoming.headers["x-forwarded-for"] ?? "");
  const { remoteAddress = "", remotePort = 0 } = socket;
  const isKnown = isIPv4(from) && isIPv4(remoteAddress);
  socket.write(
    isKnown ? `PROXY TCP4 ${from} ${remoteAddress} 0 ${remotePort}\r\n` : "PROXY UNKNOWN\r\n",
  );
}

/** Of one connection alone (RFC 9110, 7.6.1), or not the process's to see. */
const dropped = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "te",
  "upgrade",
  "expect",
]);

function ownHeaders(raw: readonly string[]): string[] {
  return pairs(raw).flatMap(([name, value]) =>
    dropped.has(name.toLowerCase()) || isOurs(name) ? [] : [name, value],
  );
}

function isOurs(name: string): boolean {
  return name.toLowerCase().startsWith("x-strata-");
}

function pairs(raw: readonly string[]): readonly (readonly [string, string])[] {
  return raw.flatMap((name, index) =>
    index % 2 === 0 ? [[name, raw[index + 1] ?? ""] as const] : [],
  );
}
