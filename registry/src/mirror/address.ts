import { compileGlob } from "../glob.ts";
import { faulty } from "./errors.ts";
import type { MirrorRule } from "./rules.ts";

/** An address that the upstream named, for a token or a blob. Only hosts of the rule are followed, so that no upstream
 * makes us ask others of our network; and never from TLS to plain.
 * @throws RegistryError UPSTREAM_FAULTY */
export function followAddress(rule: MirrorRule, text: string, from: string): URL {
  const url = URL.parse(text, from);
  const upstream = new URL(rule.upstream);
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== "") {
    throw faulty(rule.upstream, "it names an address that is none of HTTP");
  }
  if (upstream.protocol === "https:" && url.protocol !== "https:") {
    throw faulty(rule.upstream, `it leads from TLS to plain HTTP, at ${url.host}`);
  }
  const allowed =
    url.origin === upstream.origin || rule.hosts.some((pattern) => compileGlob(pattern)(url.host));
  if (allowed) return url;
  throw faulty(rule.upstream, `it leads to ${url.host}, which is not among the hosts of its rule`);
}
