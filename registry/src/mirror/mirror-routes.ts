/** Puts a mirror in front of routes: what is not here is brought, then the route answers as ever. */
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { type Digest, isDigest } from "@strata/protocol/oci/digest";
import { isTag } from "@strata/protocol/oci/reference";

import { blobHeaders } from "../http/blob-headers.ts";
import type { RouteTable } from "../http/dispatch.ts";
import { requestHeader } from "../http/env.ts";
import type { Exchange, Route, Routes } from "../http/exchange.ts";
import { sendChunks } from "../http/send-chunks.ts";
import type { RegistryLimits } from "../limits.ts";
import type { ResourceOf } from "../resource.ts";
import type { MirroredBlobs } from "./mirrored-blobs.ts";
import type { MirroredLists } from "./mirrored-lists.ts";
import type { MirroredManifests } from "./mirrored-manifests.ts";
import { type MirroredRepository, refusePush } from "./rules.ts";

export type MirrorRouteOptions = {
  /** Undefined for what is not mirrored. */
  readonly find: (repository: string) => MirroredRepository | undefined;
  readonly manifests: MirroredManifests;
  readonly blobs: MirroredBlobs;
  readonly lists: MirroredLists;
  readonly limits: Pick<RegistryLimits, "downloadSilenceMsMax">;
};

export function mirrorRoutes(table: RouteTable, options: MirrorRouteOptions): RouteTable {
  return {
    ...table,
    manifest: mirrorManifests(refuseWrites(table.manifest, options), options),
    blob: mirrorBlobs(table.blob, options),
    uploads: refuseWrites(table.uploads, options),
    upload: refuseWrites(table.upload, options),
    tags: beforeGet(table.tags, (exchange) => options.lists.answerTags(exchange)),
    referrers: beforeGet(table.referrers, (exchange) => options.lists.answerReferrers(exchange)),
  };
}

type Named = { readonly repository: string };
type Handler<Resource> = (exchange: Exchange<Resource>) => Promise<Response | undefined>;

/** Asks `first`, and the route itself only when it has no answer. HEAD has routes of its own, or none. */
function beforeGet<Resource>(routes: Routes<Resource>, first: Handler<Resource>): Routes<Resource> {
  const wrap = (route: Route<Resource> | undefined): Route<Resource> | undefined =>
    route === undefined
      ? undefined
      : {
          action: route.action,
          handle: async (exchange) => (await first(exchange)) ?? route.handle(exchange),
        };
  const [get, head] = [wrap(routes.GET), wrap(routes.HEAD)];
  return {
    ...routes,
    ...(get === undefined ? {} : { GET: get }),
    ...(head === undefined ? {} : { HEAD: head }),
  };
}

/** Deleting stays: it makes room here, and what is pulled again comes again. */
function refuseWrites<Resource extends Named>(
  routes: Routes<Resource>,
  { find }: MirrorRouteOptions,
): Routes<Resource> {
  const guard = (route: Route<Resource>): Route<Resource> => ({
    action: route.action,
    handle: (exchange) => {
      const place = find(exchange.resource.repository);
      if (place !== undefined) throw refusePush(place);
      return route.handle(exchange);
    },
  });
  const { POST, PUT, PATCH } = routes;
  return {
    ...routes,
    ...(POST === undefined ? {} : { POST: guard(POST) }),
    ...(PUT === undefined ? {} : { PUT: guard(PUT) }),
    ...(PATCH === undefined ? {} : { PATCH: guard(PATCH) }),
  };
}

function mirrorManifests(
  routes: Routes<ResourceOf<"manifest">>,
  { find, manifests }: MirrorRouteOptions,
): Routes<ResourceOf<"manifest">> {
  return beforeGet(routes, async ({ resource: { repository, reference } }) => {
    const place = find(repository);
    // What is neither is refused by the route.
    const isReference = isDigest(reference) || isTag(reference);
    if (place !== undefined && isReference) await manifests.bring(place, reference);
    return undefined;
  });
}

function mirrorBlobs(
  routes: Routes<ResourceOf<"blob">>,
  options: MirrorRouteOptions,
): Routes<ResourceOf<"blob">> {
  const { GET, HEAD } = routes;
  return {
    ...routes,
    ...(GET === undefined ? {} : { GET: wrapBlob(GET, (...args) => getBlob(options, ...args)) }),
    ...(HEAD === undefined
      ? {}
      : { HEAD: wrapBlob(HEAD, (...args) => headBlob(options, ...args)) }),
  };
}

type BlobExchange = Exchange<ResourceOf<"blob">>;
type BlobAnswer = (exchange: BlobExchange, digest: Digest) => Promise<Response | undefined>;

function wrapBlob(route: Route<ResourceOf<"blob">>, first: BlobAnswer): Route<ResourceOf<"blob">> {
  return {
    action: route.action,
    handle: async (exchange) => {
      const { digest } = exchange.resource;
      const answer = isDigest(digest) ? await first(exchange, digest) : undefined;
      return answer ?? route.handle(exchange);
    },
  };
}

/** A whole blob goes out while it comes in. Parts of it wait until it is here: nothing of them could be verified. */
async function getBlob(
  { find, blobs, limits }: MirrorRouteOptions,
  { context, resource }: BlobExchange,
  digest: Digest,
): Promise<Response | undefined> {
  const place = find(resource.repository);
  const fetch = place === undefined ? undefined : await blobs.fetch(place, digest);
  if (fetch === undefined) return undefined;
  const sizeBytes = await fetch.sizeBytes;
  if (sizeBytes === undefined || requestHeader(context, "range") !== undefined) {
    await fetch.done;
    return undefined;
  }
  const { outgoing } = context.env;
  outgoing.writeHead(200, { ...blobHeaders(digest), "content-length": String(sizeBytes) });
  outgoing.flushHeaders();
  await sendChunks(outgoing, fetch.follow(), limits.downloadSilenceMsMax);
  return RESPONSE_ALREADY_SENT;
}

async function headBlob(
  { find, blobs }: MirrorRouteOptions,
  { resource }: BlobExchange,
  digest: Digest,
): Promise<Response | undefined> {
  const place = find(resource.repository);
  if (place === undefined) return undefined;
  const sizeBytes = await blobs.findMissingSize(place, digest);
  if (sizeBytes === undefined) return undefined;
  const headers = { ...blobHeaders(digest), "content-length": String(sizeBytes) };
  return new Response(null, { headers });
}
