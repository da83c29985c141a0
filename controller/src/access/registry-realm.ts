import { TOKEN_PATH } from "@strata/registry/auth/token-endpoint";

export type RealmSettings = { readonly tls: boolean; readonly advertise: string | undefined };

/** Where a client that reached us at `origin` trades its log-in for an access token; undefined when we cannot know.
 * Never from a Host header. Without TLS of our own there is a proxy in front, whose address nobody told us. */
export function findRealm(
  { tls, advertise }: RealmSettings,
  origin: string | undefined,
): string | undefined {
  if (!tls || origin === undefined) return undefined;
  const reached = new URL(origin);
  // The plain listener is on loopback, for this machine alone.
  if (advertise === undefined || reached.protocol === "http:") return `${origin}${TOKEN_PATH}`;
  const hasPort = /^(\[.*\]|[^:]*):\d+$/.test(advertise);
  const bare = advertise.includes(":") && !hasPort && !advertise.startsWith("[");
  const host = bare ? `[${advertise}]` : advertise;
  return `https://${host}${hasPort ? "" : `:${reached.port}`}${TOKEN_PATH}`;
}
