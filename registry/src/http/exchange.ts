import type { Context } from "hono";

import type { RegistryAction } from "../authorize.ts";
import type { RegistryEnv } from "./env.ts";

/** A request whose caller may do what it asks. `Resource` is what the path named. */
export type Exchange<Resource> = {
  readonly context: Context<RegistryEnv>;
  readonly resource: Resource;
  readonly query: URLSearchParams;
  /** The caller, as the embedder's `authorize` named it. */
  readonly subject: string;
};

export type Route<Resource> = {
  /** What the caller must be allowed to do. There is no route without it. */
  readonly action: RegistryAction;
  readonly handle: (exchange: Exchange<Resource>) => Promise<Response>;
};

export type Method = "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
/** The methods that a resource knows; any other gets 405. */
export type Routes<Resource> = Readonly<Partial<Record<Method, Route<Resource>>>>;
