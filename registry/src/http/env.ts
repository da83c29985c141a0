import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";

/** The registry needs Node's own request and response: blobs go past the web streams, which cost twice the CPU. */
export type RegistryEnv = { readonly Bindings: HttpBindings };

/** A header by its lower-case name, without building a `Headers` object for it. */
export function requestHeader(context: Context<RegistryEnv>, name: string): string | undefined {
  const value = context.env.incoming.headers[name];
  return typeof value === "string" ? value : value?.[0];
}
