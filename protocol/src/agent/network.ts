/** What a node knows of the network of the installation. Every node: where the processes of subscriptions are reached, for
 * names and for who may talk to whom. A node with the role `ingress`: the routes that lead to them.
 *
 *   GET  /v1/nodes/{id}/network?boot=B&revision=N&wait=30s
 *                                    200 NetworkTable when there is more than revision N of boot B, 204 when the wait is over
 *   POST /v1/nodes/{id}/network                      NetworkReport → 204; from an ingress, each second and after each change
 *   POST /v1/nodes/{id}/wake                         WakeRequest → 204: somebody asks for a subscription that sleeps
 *
 * Agents keep the table in a file and go on from it when the controller is silent. */
import { z } from "zod";

import { Alias, Name } from "../names.ts";

const HostPort = z.int().min(1).max(65535);

const endpointStates = ["ready", "leaving", "frozen"] as const;

/** A process as others reach it. */
export const Endpoint = z.object({
  processId: z.string(),
  nodeId: z.string(),
  /** Of its node, where its ports are published. */
  address: z.string().max(255),
  /** Of its container, reached on its node alone. */
  containerAddress: z.string().max(64),
  /** Published ports of the node by the ports' names. */
  ports: z.record(Name, HostPort),
  /** `leaving` takes nothing new and finishes what it has; `frozen` answers once it was woken. */
  state: z.enum(endpointStates),
  generation: z.int().nonnegative(),
});
export type Endpoint = z.infer<typeof Endpoint>;

/** Who may open connections to a subscription's processes from other processes: all of its tenant, the named aliases of
 * its tenant, or the processes of every tenant. */
export const ServiceAccess = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("tenant") }),
  z.object({ kind: z.literal("aliases"), aliases: z.array(Alias).max(256) }),
  z.object({ kind: z.literal("everyone") }),
]);
export type ServiceAccess = z.infer<typeof ServiceAccess>;

/** A subscription as others find it. */
export const Service = z.object({
  /** Of the subscription. */
  id: z.string(),
  tenant: Name,
  alias: Alias,
  /** IPv4, the same on every node for as long as the subscription exists: leads to one of its processes. */
  address: z.ipv4(),
  access: ServiceAccess,
  ports: z
    .array(
      z.object({
        name: Name,
        containerPort: z.int().min(1).max(65535),
        protocol: z.enum(["tcp", "udp"]),
      }),
    )
    .max(64),
  /** A request wakes it when it has no process that is ready. */
  wakes: z.boolean(),
  endpoints: z.array(Endpoint),
});
export type Service = z.infer<typeof Service>;

export const routeBalances = ["leastConnections", "roundRobin", "source"] as const;

/** A route as an ingress carries it out. */
export const IngressRoute = z.object({
  /** Unique in the installation: letters, digits, `.`, `-` and `_`. */
  id: z
    .string()
    .max(200)
    .regex(/^[A-Za-z0-9._-]+$/),
  tenant: Name,
  /** HTTP: by host and path. Lower case; `*.example.com` matches one label and more. */
  hosts: z.array(z.string().max(255)).max(64),
  /** The longest matching path prefix wins, by whole segments. */
  path: z.string().startsWith("/").max(1024),
  /** TCP: the ingress listens here; hosts and path are then of no meaning. */
  tcpPort: HostPort.optional(),
  /** Weights are shares of requests: a service without ready processes leaves its share to the others. */
  backends: z
    .array(z.object({ service: z.string(), port: Name, weight: z.int().min(0).max(256) }))
    .min(1)
    .max(16),
  balance: z.enum(routeBalances),
  /** Clients come back to the process that answered them first, by a cookie. */
  sticky: z.boolean(),
  /** HTTP asked for in the clear is sent to HTTPS. */
  redirectToHttps: z.boolean(),
  /** Idempotent requests that failed before an answer are tried again this often. */
  retries: z.int().min(0).max(10),
  /** What processes get to see of the client beside `X-Forwarded-*`. */
  sendProxyProtocol: z.boolean(),
  limits: z.object({
    /** Requests at once to one process; more wait. Left out, no limit. */
    requestsPerProcess: z.int().positive().optional(),
    /** From one client's address. */
    requestsPerSecond: z.int().positive().optional(),
    bodyBytesMax: z.int().positive().optional(),
    /** From the request to the first byte of the answer. */
    answerMsMax: z.int().positive(),
    /** Without a byte, of WebSockets and other tunnels too. */
    idleMsMax: z.int().positive(),
    /** Wait for a free process, or for one that wakes. */
    queueMsMax: z.int().positive(),
    queueMax: z.int().positive(),
  }),
});
export type IngressRoute = z.infer<typeof IngressRoute>;

/** With its key: it goes to ingress nodes alone. */
export const IngressCertificate = z.object({
  id: z
    .string()
    .max(200)
    .regex(/^[A-Za-z0-9._-]+$/),
  /** Server names (SNI) for which it is shown, as routes write hosts: a certificate may hold names that are not its
   * tenant's. Each name is of one certificate; an exact one wins over a wildcard. */
  hosts: z.array(z.string().max(255)).max(1000),
  /** Certificate, chain and key in PEM. */
  pem: z.string().max(128 * 1024),
});
export type IngressCertificate = z.infer<typeof IngressCertificate>;

export const Ingress = z.object({
  routes: z.array(IngressRoute).max(100_000),
  /** The first is also shown to who names no host, or one that is unknown. Empty, there is no TLS yet. */
  certificates: z.array(IngressCertificate).max(10_000),
  /** Answers to `/.well-known/acme-challenge/{token}` (RFC 8555, 8.3). */
  challenges: z
    .array(z.object({ token: z.string().max(255), answer: z.string().max(512) }))
    .max(1000),
});
export type Ingress = z.infer<typeof Ingress>;

export const NetworkTable = z.object({
  epoch: z.string(),
  /** One life of the controller: revisions of another one are of no meaning, and who names one is told everything. */
  boot: z.string().max(100),
  revision: z.int().nonnegative(),
  /** What it is a difference to: 0 is everything. */
  since: z.int().nonnegative(),
  /** New ones and changed ones. */
  services: z.array(Service),
  /** Ids of services that are gone. */
  removed: z.array(z.string()),
  /** Addresses of all nodes; left out, as before. */
  nodes: z.array(z.object({ id: z.string(), address: z.string().max(255) })).optional(),
  /** Null: this node is no ingress. Left out, as before. */
  ingress: Ingress.nullable().optional(),
});
export type NetworkTable = z.infer<typeof NetworkTable>;

/** What an ingress has measured of a process since it began: counters only grow within one `bootId`. */
const EndpointTraffic = z.object({
  processId: z.string(),
  inFlight: z.int().nonnegative(),
  requests: z.int().nonnegative(),
  errors: z.int().nonnegative(),
});
const ServiceTraffic = z.object({
  id: z.string(),
  /** Requests that wait for a process. */
  queued: z.int().nonnegative(),
  requests: z.int().nonnegative(),
  errors: z.int().nonnegative(),
  /** Mean over the last 1024 requests, in milliseconds, from the request to the answer's end. */
  latencyMs: z.number().nonnegative(),
});

export const NetworkReport = z.object({
  /** One life of what counts. */
  bootId: z.string().max(100),
  /** Of the table that was carried out. */
  boot: z.string().max(100),
  /** Carried out: all of what this revision of the table says. */
  revision: z.int().nonnegative(),
  /** What could not be carried out, for people. */
  problems: z.array(z.string().max(500)).max(20),
  endpoints: z.array(EndpointTraffic).max(100_000),
  services: z.array(ServiceTraffic).max(100_000),
});
export type NetworkReport = z.infer<typeof NetworkReport>;

export const WakeRequest = z.object({ service: z.string().max(100) });
export type WakeRequest = z.infer<typeof WakeRequest>;
