/** How others reach this controller. Never from a Host header: whoever forges one would have his own address handed
 * out by us. */
import { networkInterfaces } from "node:os";

import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";

import type { Services } from "./services.ts";

/** `https://host:port`, for another machine. */
export function advertisedUrl(services: Services): string {
  return urlOf(services, services.config.advertise ?? globalAddresses()[0] ?? "127.0.0.1");
}

/** As `advertisedUrl`, but where nothing is configured the address of ours that this request came in by: it is the
 * kernel's word, and the client can reach it. */
export function reachedUrl(
  c: Context<{ Bindings: Partial<HttpBindings> }>,
  services: Services,
): string {
  // Outside a server (tests call the app directly) there are no bindings at all.
  const bindings: Partial<HttpBindings> | undefined = c.env;
  const local = bindings?.incoming?.socket.localAddress?.replace(/^::ffff:/, "");
  return services.config.advertise === undefined && local !== undefined
    ? urlOf(services, local)
    : advertisedUrl(services);
}

/** The line that makes a node of another machine. The first byte is already authenticated: the key of our certificate
 * is pinned, since curl cannot pin a CA by its digest. */
export function joinCommand(services: Services, token: string): string {
  const { pki } = services;
  const url = advertisedUrl(services);
  const trust =
    pki.publicKeyPin === undefined ? "" : `-k --pinnedpubkey sha256//${pki.publicKeyPin} `;
  // By the environment, which root alone can read: arguments show in every process list.
  return `curl -fsS ${trust}${url}/install.sh | STRATA_JOIN_TOKEN=${token} sh -s -- --controller ${url}`;
}

/** Addresses of this machine that others may reach, IPv4 first. */
export function globalAddresses(): readonly string[] {
  const all = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith("fe80"));
  return [
    ...all.filter(({ family }) => family === "IPv4"),
    ...all.filter(({ family }) => family === "IPv6"),
  ].map(({ address }) => address);
}

function urlOf({ config: { tls }, publicPort }: Services, host: string): string {
  const hasPort = /^(\[.*\]|[^:]*):\d+$/.test(host);
  const bracketed = host.includes(":") && !hasPort && !host.startsWith("[") ? `[${host}]` : host;
  return `${tls ? "https" : "http"}://${bracketed}${hasPort ? "" : `:${publicPort()}`}`;
}
