/** Routes: how requests from outside come to the processes of a tenant's subscriptions. */
import { z } from "zod";

import { routeBalances } from "../agent/network.ts";
import { Alias, Name } from "../names.ts";
import { BytesText, duration } from "./autoscale.ts";
import { Host } from "./network.ts";

const SECOND = 1000;
const HOUR = 3600 * SECOND;

/** Whole segments, as RFC 3986 writes them, without what a program in between may read in two ways. */
const Path = z
  .string()
  .max(1024)
  .regex(
    /^\/(?:[A-Za-z0-9._~!$'()*+,;=:@-]+(?:\/[A-Za-z0-9._~!$'()*+,;=:@-]+)*\/?)?$/,
    "a path such as /shop, without // and %",
  )
  .refine((path) => !path.split("/").some((part) => part === "." || part === ".."), {
    message: "a path without . and ..",
  });

const Backend = z.strictObject({
  subscription: Alias,
  /** Name of one of its TCP ports. Left out: `http`, or else the first. */
  port: Name.optional(),
  /** Its share of the requests, beside the others'. 0: none. */
  weight: z.int().min(0).max(256).default(100),
});

const Limits = z.strictObject({
  /** Requests at once to one process; more wait. Left out, no limit. */
  requestsPerProcess: z.int().min(1).max(1_000_000).optional(),
  /** From one client's address; more are answered with 429. Left out, no limit. */
  requestsPerSecond: z.int().min(1).max(1_000_000).optional(),
  /** Left out, no limit. */
  body: BytesText.refine((bytes) => bytes > 0, "more than 0").optional(),
  /** From the request to the first byte of the answer. */
  answer: duration(SECOND, 24 * HOUR).default(60 * SECOND),
  /** Without a byte in either direction, WebSockets and other tunnels included. */
  idle: duration(SECOND, 24 * HOUR).default(HOUR),
  /** Wait for a free process, or for one that wakes. */
  queueFor: duration(SECOND, HOUR).default(30 * SECOND),
  /** Requests that wait at once. */
  queue: z.int().min(1).max(100_000).default(1000),
});

export const RouteInput = z
  .strictObject({
    /** HTTP by name: `shop.example.com`, `*.example.com`. */
    hosts: z.array(Host).max(64).default([]),
    /** The longest matching prefix wins. */
    path: Path.default("/"),
    /** TCP: the port that every ingress listens on. */
    tcpPort: z.int().min(1).max(65_535).optional(),
    backends: z.array(Backend).min(1).max(16),
    balance: z.enum(routeBalances).default("leastConnections"),
    /** Clients come back to the process that answered them first, by a cookie. */
    sticky: z.boolean().default(false),
    redirectToHttps: z.boolean().default(false),
    /** How often an idempotent request that failed before its answer is tried again. */
    retries: z.int().min(0).max(10).default(2),
    /** Tells the processes the client's address by the PROXY protocol, version 2. */
    sendProxyProtocol: z.boolean().default(false),
    limits: Limits.prefault({}),
    /** The tenant's certificate for those of its hosts that it is good for. Left out, the best of the tenant's. */
    certificate: Name.optional(),
  })
  .superRefine((route, context) => {
    for (const { path, message } of faultsOf(route))
      context.addIssue({ code: "custom", path, message });
  });
export type RouteInput = z.output<typeof RouteInput>;

type Fault = { path: (string | number)[]; message: string };

function faultsOf(route: {
  readonly hosts: readonly string[];
  readonly path: string;
  readonly tcpPort?: number | undefined;
  readonly redirectToHttps: boolean;
  readonly sticky: boolean;
  readonly backends: readonly {
    readonly subscription: string;
    readonly port?: string | undefined;
  }[];
}): readonly Fault[] {
  const { hosts, path, tcpPort, sticky, redirectToHttps, backends } = route;
  const faults: Fault[] = [];
  if (tcpPort === undefined && hosts.length === 0)
    faults.push({ path: ["hosts"], message: "name a host, or a tcpPort" });
  if (tcpPort !== undefined && (hosts.length > 0 || path !== "/" || sticky || redirectToHttps))
    faults.push({
      path: ["tcpPort"],
      message: "hosts, path, sticky and redirectToHttps are of HTTP alone",
    });
  if (new Set(hosts).size !== hosts.length)
    faults.push({ path: ["hosts"], message: "a host is named twice" });
  const named = new Set(backends.map(({ subscription, port }) => `${subscription}/${port ?? ""}`));
  if (named.size !== backends.length)
    faults.push({ path: ["backends"], message: "a backend is named twice" });
  return faults;
}

/** What a PUT said, with every default filled in: without the name, times and status it can be written again. */
export const Route = z.looseObject({
  name: Name,
  tenant: Name,
  hosts: z.array(z.string()),
  path: z.string(),
  revision: z.int().positive(),
  createdAt: z.iso.datetime(),
  updatedAt: z.iso.datetime(),
  status: z.object({
    /** Processes that requests go to now. */
    ready: z.int(),
    /** Why requests may find nobody, in one sentence; null when all is well. */
    message: z.string().nullable(),
  }),
});
export type Route = z.infer<typeof Route>;
