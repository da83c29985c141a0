import type { Socket } from "node:net";

import type { Context } from "hono";

import type { Authorize, AuthorizeRequest, AuthorizeResult } from "../authorize.ts";
import { type RegistryEnv, requestHeader } from "./env.ts";

/** Asks whether the caller of this request may do something; not always what the request itself is about. */
export async function askAccess(
  context: Context<RegistryEnv>,
  authorize: Authorize,
  wanted: Pick<AuthorizeRequest, "action" | "repository">,
): Promise<AuthorizeResult> {
  const { socket } = context.env.incoming;
  return authorize({
    ...wanted,
    authorization: requestHeader(context, "authorization"),
    remote: socket.remoteAddress,
    origin: originOf(socket),
  });
}

/** Where the client reached us. Undefined when the connection is gone already. */
function originOf(socket: Socket): string | undefined {
  const { localAddress, localPort } = socket;
  if (localAddress === undefined || localPort === undefined) return undefined;
  const plain = localAddress.replace(/^::ffff:/, "");
  const host = plain.includes(":") ? `[${plain}]` : plain;
  return `${"encrypted" in socket ? "https" : "http"}://${host}:${localPort}`;
}
