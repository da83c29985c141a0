import type { Context } from "hono";

import type { Authorize } from "../authorize.ts";
import { RegistryError } from "../errors.ts";
import { parseResource, type Resource, type ResourceOf } from "../resource.ts";
import { askAccess } from "./ask-access.ts";
import type { RegistryEnv } from "./env.ts";
import type { Method, Routes } from "./exchange.ts";

/** What can be done with each kind of resource. */
export type RouteTable = {
  readonly [Kind in Resource["kind"]]: Routes<ResourceOf<Kind>>;
};

const methods: ReadonlySet<string> = new Set<Method>([
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "PATCH",
  "DELETE",
]);

function isMethod(text: string): text is Method {
  return methods.has(text);
}

/** Finds the route, asks whether the caller may take it, and takes it. @throws RegistryError */
export async function dispatch(
  context: Context<RegistryEnv>,
  table: RouteTable,
  authorize: Authorize,
): Promise<Response> {
  const url = new URL(context.req.url);
  const resource = parseResource(url.pathname);
  if (resource === undefined) {
    throw new RegistryError("NAME_UNKNOWN", "there is no such endpoint", {
      hint: "the endpoints are those of the OCI distribution specification",
    });
  }
  const take = <R extends Resource>(routes: Routes<R>, target: R): Promise<Response> =>
    takeRoute(routes, { context, authorize, resource: target, query: url.searchParams });
  switch (resource.kind) {
    case "base":
      return take(table.base, resource);
    case "catalog":
      return take(table.catalog, resource);
    case "tags":
      return take(table.tags, resource);
    case "manifest":
      return take(table.manifest, resource);
    case "referrers":
      return take(table.referrers, resource);
    case "uploads":
      return take(table.uploads, resource);
    case "upload":
      return take(table.upload, resource);
    case "blob":
      return take(table.blob, resource);
    default:
      return resource satisfies never;
  }
}

type Request<R extends Resource> = {
  readonly context: Context<RegistryEnv>;
  readonly authorize: Authorize;
  readonly resource: R;
  readonly query: URLSearchParams;
};

async function takeRoute<R extends Resource>(
  routes: Routes<R>,
  { context, authorize, resource, query }: Request<R>,
): Promise<Response> {
  const { method } = context.req;
  // A HEAD without a route of its own is a GET whose body Hono leaves out: RFC 9110, section 9.3.2.
  const route = isMethod(method)
    ? (routes[method] ?? (method === "HEAD" ? routes.GET : undefined))
    : undefined;
  if (route === undefined) {
    throw new RegistryError("UNSUPPORTED", `${method.slice(0, 20)} is not for this resource`, {
      headers: { allow: Object.keys(routes).join(", ") },
    });
  }
  const access = await askAccess(context, authorize, {
    action: route.action,
    repository: "repository" in resource ? resource.repository : undefined,
  });
  switch (access.kind) {
    case "allowed":
      return route.handle({ context, resource, query, subject: access.subject });
    case "challenge":
      throw new RegistryError("UNAUTHORIZED", "who is it?", {
        hint: "log in: the WWW-Authenticate header says how",
        headers: { "www-authenticate": access.wwwAuthenticate },
      });
    case "denied":
      throw new RegistryError("DENIED", `not allowed to ${route.action} here`, {
        hint: "use a token whose scope includes this repository and action",
      });
    default:
      return access satisfies never;
  }
}
