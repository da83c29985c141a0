import type { OpenAPIHono } from "@hono/zod-openapi";
/** The one way to add a route. A route without an access rule cannot be written, and each is in the OpenAPI document. */
import { type Scope, scopeIncludes } from "@strata/protocol/access";
import { Problem } from "@strata/protocol/errors";
import type { Context } from "hono";
import { z } from "zod";

import type { Principal } from "../access/authenticate.ts";
import { bearerOf } from "../access/bearer.ts";
import type { RefuseFormerNode } from "../access/former-nodes.ts";
import type { Gate } from "../access/gate.ts";
import { ControllerError } from "../errors.ts";
import type { Precondition } from "../operations/upsert.ts";
import type { Audited } from "./audited.ts";
import { parseJsonBody, readBody } from "./body.ts";
import { readPrecondition } from "./precondition.ts";
import { FieldsError, rateHeaders } from "./problem.ts";

/** Who may call: whoever has a token with the scope; the agent of the node in the path; or anybody, because the answer
 * is no secret (health, help, the CA) or the route checks a credential of its own kind (joining). */
export type Access = Scope | "node" | "public";

type Method = "get" | "put" | "post" | "delete";
type Fields = z.ZodObject;
const noFields = z.object({});
type NoFields = typeof noFields;

export type Answer = {
  readonly description: string;
  readonly schema?: z.ZodType;
  /** Where it is not JSON. */
  readonly contentType?: string;
};

/** What a handler gets: everything parsed and checked. */
export type Call<Params, Query, Body> = {
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  /** Of nobody in particular on a public route: the scope `pull` and no tenant's. */
  readonly caller: Principal;
  readonly precondition: Precondition;
  readonly c: Context;
};

export type Route<P extends Fields, Q extends Fields, B extends z.ZodType> = {
  readonly method: Method;
  /** As OpenAPI writes it: `/v1/nodes/{id}`. */
  readonly path: string;
  readonly access: Access;
  readonly summary: string;
  readonly params?: P;
  readonly query?: Q;
  readonly body?: B;
  /** Left out, the general limit for JSON. */
  readonly bodyBytesMax?: number;
  /** Reads the body itself, as something else than JSON. */
  readonly rawBody?: string;
  /** Whether requests are in the audit log [those that are no GET]: `always` for what a GET takes out of a container,
   * `never` for what changes nothing. */
  readonly audit?: "always" | "never";
  /** The answer goes on for long: a HEAD, which would start it for nobody, is refused. */
  readonly streams?: true;
  readonly answers: Readonly<Record<number, Answer>>;
  readonly handle: (
    call: Call<z.output<P>, z.output<Q>, z.output<B>>,
  ) => Response | Promise<Response>;
};

export type RouteEntry = {
  readonly method: Method;
  readonly path: string;
  readonly access: Access;
};

export type Router = {
  readonly add: <
    P extends Fields = NoFields,
    Q extends Fields = NoFields,
    B extends z.ZodType = z.ZodUndefined,
  >(
    route: Route<P, Q, B>,
  ) => void;
  /** All that were added, for tests and documents. */
  readonly entries: readonly RouteEntry[];
};

export type RouterOptions = {
  readonly gate: Pick<Gate, "admit">;
  readonly audited: Audited;
  readonly addressOf: (c: Context) => string;
  /** Says more to the agent of a node that was deleted. */
  readonly refuseFormer: RefuseFormerNode;
};

export function createRouter(app: OpenAPIHono, options: RouterOptions): Router {
  const entries: RouteEntry[] = [];
  return {
    entries,
    add: (route) => {
      entries.push({ method: route.method, path: route.path, access: route.access });
      describe(app, route);
      const serve = async (c: Context): Promise<Response> => {
        const caller = await authorize(c, route.access, options);
        if (route.streams === true && c.req.method === "HEAD") throw noHead();
        const params = parseFields(route.params, { values: c.req.param(), what: "path" });
        const query = parseFields(route.query, { values: readQuery(c), what: "query" });
        const body = await readInput(c, route);
        return route.handle({ params, query, body, caller, precondition: readPrecondition(c), c });
      };
      const isAudited = isWrite(route) ? route.audit !== "never" : route.audit === "always";
      const successStatus = Math.min(...Object.keys(route.answers).map(Number));
      app.on(
        route.method.toUpperCase(),
        route.path.replaceAll(/\{(\w+)\}/g, ":$1"),
        isAudited ? (c) => options.audited.serve(c, successStatus, () => serve(c)) : serve,
      );
    },
  };
}

/** Reports of agents are facts that they saw, not changes that somebody asked for. */
function isWrite({ method, access }: RouteEntry): boolean {
  return method !== "get" && access !== "node";
}

function noHead(): ControllerError {
  return new ControllerError("METHOD_NOT_ALLOWED", "HEAD does nothing here", { hint: "use GET" });
}

const nobody: Principal = {
  id: "anonymous",
  scope: "pull",
  tenant: "",
  nodeId: undefined,
  ratePerMinute: null,
};

/** @throws ControllerError UNAUTHENTICATED, FORBIDDEN, NODE_DECOMMISSIONED, RATE_LIMITED, ISSUER_UNREACHABLE */
async function authorize(
  c: Context,
  access: Access,
  { gate, audited, addressOf, refuseFormer }: RouterOptions,
): Promise<Principal> {
  if (access === "public") return nobody;
  const credential = bearerOf(c.req.header("authorization")) ?? "";
  const { caller, rate } = await gate.admit(credential, addressOf(c));
  audited.identified(caller, c.req.query("tenant"));
  if (rate !== undefined)
    for (const [name, value] of Object.entries(rateHeaders(rate))) c.header(name, value);
  if (caller === undefined && access === "node") refuseFormer(credential);
  return authorizeCaller(caller, { access, nodeId: c.req.param("id") });
}

/** @throws ControllerError UNAUTHENTICATED, FORBIDDEN */
export function authorizeCaller(
  caller: Principal | undefined,
  { access, nodeId }: { readonly access: Scope | "node"; readonly nodeId: string | undefined },
): Principal {
  if (caller === undefined) {
    throw new ControllerError("UNAUTHENTICATED", "this needs a token, and a valid one", {
      hint: "send Authorization: Bearer <token>; the first token is in the file admin-token of the controller",
    });
  }
  if (access === "node") {
    if (caller.nodeId !== undefined && caller.nodeId === nodeId) return caller;
    throw new ControllerError("FORBIDDEN", "this route is for the agent of that node alone", {
      hint: "use the credential that the node got when it joined",
    });
  }
  if (scopeIncludes(caller.scope, access)) return caller;
  throw new ControllerError(
    "FORBIDDEN",
    `this needs the scope ${access}; the token has ${caller.scope}`,
    {
      hint: "ask an admin for another token: POST /v1/tokens",
    },
  );
}

function readQuery(c: Context): Record<string, string | string[]> {
  return Object.fromEntries(
    Object.entries(c.req.queries()).map(([name, values]) => [
      name,
      values.length === 1 ? (values[0] ?? "") : values,
    ]),
  );
}

/** @throws FieldsError */
function parseFields<F extends Fields>(
  schema: F | undefined,
  { values, what }: { readonly values: unknown; readonly what: string },
): z.output<F> {
  // The cast: without a schema F is NoFields, whose output is the empty object.
  const result = (schema ?? noFields).safeParse(values);
  if (!result.success) throw new FieldsError(what, result.error);
  return result.data as z.output<F>;
}

async function readInput<P extends Fields, Q extends Fields, B extends z.ZodType>(
  c: Context,
  route: Route<P, Q, B>,
): Promise<z.output<B>> {
  const parse = (schema: z.ZodType, value: unknown): z.output<B> => {
    const result = schema.safeParse(value);
    if (!result.success) throw new FieldsError("body", result.error);
    // The cast: `schema` is route.body, or z.undefined() where B is that.
    return result.data as z.output<B>;
  };
  if (route.body === undefined) return parse(z.undefined(), undefined);
  return parse(route.body, parseJsonBody(await readBody(c, route.bodyBytesMax)));
}

function describe<P extends Fields, Q extends Fields, B extends z.ZodType>(
  app: OpenAPIHono,
  route: Route<P, Q, B>,
): void {
  const { method, path, access, summary, params, query, body, rawBody } = route;
  app.openAPIRegistry.registerPath({
    method,
    path,
    summary,
    tags: [path.split("/")[2] ?? "general"],
    security: access === "public" ? [] : [{ bearer: [] }],
    description: access === "public" ? "Needs no token." : `Needs the scope ${access}.`,
    request: {
      ...(params === undefined ? {} : { params }),
      ...(query === undefined ? {} : { query }),
      ...(body === undefined
        ? {}
        : { body: { content: { "application/json": { schema: body } } } }),
      ...(rawBody === undefined
        ? {}
        : { body: { content: { [rawBody]: { schema: z.string() } } } }),
    },
    responses: {
      ...Object.fromEntries(
        Object.entries(route.answers).map(([status, answer]) => [status, describeAnswer(answer)]),
      ),
      default: {
        description: "What went wrong: RFC 9457.",
        content: { "application/problem+json": { schema: Problem } },
      },
    },
  });
}

function describeAnswer({ description, schema, contentType }: Answer): {
  description: string;
  content?: Record<string, { schema: z.ZodType }>;
} {
  if (schema === undefined && contentType === undefined) return { description };
  return {
    description,
    content: { [contentType ?? "application/json"]: { schema: schema ?? z.string() } },
  };
}
