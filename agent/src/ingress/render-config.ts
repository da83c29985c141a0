import { createHash } from "node:crypto";
import { isIPv6 } from "node:net";
import { join } from "node:path";

import type { IngressCertificate, IngressRoute } from "@strata/protocol/agent/network";

import { frontAnswers, routeAnswers } from "./answers.ts";
import { type IngressPaths, WAKER_SOCKET_IN_ROOT } from "./ingress-paths.ts";
import type { IngressSettings } from "./ingress-settings.ts";
import { httpLogFormat, tcpLogFormat } from "./log-format.ts";
import type { IngressPlan, RoutePlan, ServerPlan } from "./plan-ingress.ts";

export type RenderOptions = {
  readonly settings: IngressSettings;
  readonly paths: IngressPaths;
  /** Addresses to listen on. */
  readonly bind: readonly string[];
};

/** Connections of clients without a request are kept so long, by a worker that a reload has replaced too. */
export const KEEP_ALIVE_MS = 15_000;

/** All files of a configuration by their paths. */
export type RenderedConfig = {
  /** Of all but the servers: as long as it is the same, servers come and go without a reload. */
  readonly id: string;
  readonly files: ReadonlyMap<string, string>;
};

/** HAProxy's configuration. Pure. */
export function renderConfig(plan: IngressPlan, options: RenderOptions): RenderedConfig {
  const { paths } = options;
  const maps = new Map([
    ...renderMaps(plan, paths),
    [paths.certificateList, plan.certificates.map(renderListed(paths)).join("")],
    ...plan.certificates.map(({ id, pem }): [string, string] => [
      join(paths.certificates, `${id}.pem`),
      pem,
    ]),
  ]);
  const httpsPort = plan.certificates.length > 0 ? options.settings.httpsPort : undefined;
  const parts = [
    renderFronts(plan, options),
    ...plan.routes.map((route) => renderRoute(route, httpsPort)),
  ];
  const hash = createHash("sha256").update(renderGlobal("", options));
  for (const text of [...parts, ...[...maps].flat()]) hash.update(text).update("\0");
  const id = hash.digest("hex").slice(0, 32);
  const routes = plan.routes.map(
    (route, index) => `${parts[index + 1] ?? ""}${renderServers(route)}`,
  );
  const config = [renderGlobal(id, options), parts[0] ?? "", ...routes].join("\n");
  return { id, files: new Map([...maps, [paths.config, config]]) };
}

const HOST = "req.hdr(host),host_only,lower";
/** Takes what no route is for: a name that no backend has leads to the default. */
const UNKNOWN = "unknown";

/** A route's name in HAProxy. */
export function backendName({ id }: Pick<IngressRoute, "id">): string {
  return `r.${id}`;
}

function renderMaps(
  { routes, challenges }: IngressPlan,
  paths: IngressPaths,
): readonly [string, string][] {
  // Prefixes are compared by whole segments, because both sides end with a slash.
  const end = isByHostAlone(routes) ? "" : "/";
  const lines = routes.flatMap(({ route }) =>
    route.hosts.map((host) => `${host}${route.path}${end} ${backendName(route)}\n`),
  );
  const wildcards = new Set(
    routes.flatMap(({ route }) => route.hosts.filter((host) => host.startsWith("*."))),
  );
  // The first that fits is taken: the longest.
  const suffixes = [...wildcards].toSorted((a, b) => b.length - a.length || (a < b ? -1 : 1));
  const answers = challenges.map(
    ({ token, answer }) => `/.well-known/acme-challenge/${token} ${answer}\n`,
  );
  return [
    [paths.routes, lines.join("")],
    [paths.wildcards, suffixes.map((host) => `${host.slice(1)} ${host}\n`).join("")],
    [paths.challenges, answers.join("")],
  ];
}

function renderListed({
  certificates,
}: IngressPaths): (certificate: IngressCertificate, index: number) => string {
  // Without names of its own a certificate is shown for those that it holds: only the first one may be.
  return ({ id, hosts }, index) =>
    hosts.length === 0 && index > 0
      ? ""
      : `${join(certificates, `${id}.pem`)} [alpn h2,http/1.1] ${hosts.join(" ")}\n`;
}

function renderGlobal(id: string, { settings, paths }: RenderOptions): string {
  return `global
  description strata-${id}
  maxconn ${settings.connectionsMax}
  user haproxy
  group haproxy
  chroot ${paths.root}
  pidfile ${paths.pid}
  stats socket ${paths.statsSocket} mode 600 level admin expose-fd listeners
  stats timeout 1h
  mworker-max-reloads 16
  ssl-default-bind-options ssl-min-ver TLSv1.2
  tune.ssl.default-dh-param 2048

defaults
  mode http
  option redispatch 1
  option dontlognull
  timeout connect 3s
  timeout http-request 15s
  timeout http-keep-alive ${KEEP_ALIVE_MS}ms
${frontAnswers.errors}`;
}

function renderFronts(plan: IngressPlan, options: RenderOptions): string {
  const { settings, paths } = options;
  const https = plan.certificates.length > 0;
  const idleMs = plan.routes.map(({ route }) => Math.max(...timeoutsOf(route)));
  const fronts = [
    `frontend web
${renderBinds(settings.httpPort, options)}
${https ? renderBinds(settings.httpsPort, options, ` ssl crt-list ${paths.certificateList}`) : ""}
  option idle-close-on-response
  timeout client ${Math.max(60_000, ...idleMs)}ms
${renderProxyFrom(settings)}${renderLog(settings, httpLogFormat)}
  capture request header Host len 255
${renderChallenges(plan, paths)}  http-request del-header x-forwarded- -m beg
  http-request del-header forwarded
  http-request del-header x-real-ip
  http-request del-header x-strata- -m beg
  option forwardfor
${https ? "  http-request add-header X-Forwarded-Proto https if { ssl_fc }\n" : ""}  http-request add-header X-Forwarded-Proto http${https ? " if !{ ssl_fc }" : ""}
  http-request add-header X-Forwarded-Host %[req.hdr(host)]
  http-request add-header X-Forwarded-Port %[dst_port]
${renderChoice(plan, paths)}
backend ${UNKNOWN}
  ${frontAnswers.unknownRoute}
`,
    ...plan.routes.flatMap(({ route }) => renderTcpFront(route, options)),
  ];
  return fronts.join("\n");
}

function renderChallenges({ challenges }: IngressPlan, { challenges: map }: IngressPaths): string {
  if (challenges.length === 0) return "";
  return `  http-request set-var(txn.challenge) path,map_str(${map})
  http-request return status 200 content-type text/plain lf-string "%[var(txn.challenge)]" if { var(txn.challenge) -m found }
`;
}

/** Nothing looks at more of a request than its host: no wildcard and no path leads anywhere. */
function isByHostAlone(routes: IngressPlan["routes"]): boolean {
  return routes.every(
    ({ route: { hosts, path } }) =>
      hosts.length === 0 || (path === "" && !hosts.some((host) => host.startsWith("*."))),
  );
}

/** Variables and lookups cost each request, so there are only those that the routes need. */
function renderChoice({ routes }: IngressPlan, paths: IngressPaths): string {
  const choice = isByHostAlone(routes)
    ? `  use_backend %[${HOST},map_str(${paths.routes})]`
    : `  http-request set-var(txn.path) path
  http-request set-var(txn.host) ${HOST}
  http-request set-var(txn.key) var(txn.host),concat(,txn.path,/)
  http-request set-var(txn.route) var(txn.key),map_beg(${paths.routes})
  http-request set-var(txn.site) var(txn.host),map_end(${paths.wildcards}) if !{ var(txn.route) -m found }
  http-request set-var(txn.key) var(txn.site),concat(,txn.path,/) if { var(txn.site) -m found }
  http-request set-var(txn.route) var(txn.key),map_beg(${paths.routes}) if { var(txn.site) -m found }
  use_backend %[var(txn.route)]`;
  return `${choice}\n  default_backend ${UNKNOWN}\n`;
}

function renderTcpFront(route: IngressRoute, options: RenderOptions): readonly string[] {
  const { id, tcpPort, limits } = route;
  if (tcpPort === undefined) return [];
  return [
    `frontend t.${id}
  mode tcp
${renderBinds(tcpPort, options)}
  timeout client ${limits.idleMsMax}ms
${renderProxyFrom(options.settings)}${renderLog(options.settings, tcpLogFormat)}
  default_backend ${backendName(route)}
`,
  ];
}

function renderBinds(port: number, { bind }: RenderOptions, more = ""): string {
  return bind
    .map((address) =>
      isIPv6(address)
        ? `  bind [${address}]:${port}${address === "::" ? " v6only" : ""}${more}`
        : `  bind ${address}:${port}${more}`,
    )
    .join("\n");
}

function renderProxyFrom({ proxyFrom }: IngressSettings): string {
  if (proxyFrom.length === 0) return "";
  return `  tcp-request connection expect-proxy layer4 if { src ${proxyFrom.join(" ")} }\n`;
}

function renderLog({ logBytesMax }: IngressSettings, format: string): string {
  if (logBytesMax === 0) return "";
  return `  log stdout len 8192 format raw local0 info\n  log-format '${format}'`;
}

const balances: Readonly<Record<IngressRoute["balance"], string>> = {
  leastConnections: "leastconn",
  roundRobin: "roundrobin",
  source: "source\n  hash-type consistent",
};

/** With several services the shares are what counts, and only taking turns keeps them. */
function renderBalance({ balance, backends }: IngressRoute): string {
  return backends.length > 1 && balance !== "source" ? "roundrobin" : balances[balance];
}

function timeoutsOf({ limits }: IngressRoute): readonly number[] {
  return [limits.answerMsMax, limits.idleMsMax];
}

function renderRoute({ route, wakes }: RoutePlan, httpsPort: number | undefined): string {
  const { id, tcpPort, limits, retries } = route;
  const head = `backend ${backendName(route)}
  balance ${renderBalance(route)}
  timeout queue ${limits.queueMsMax}ms
  timeout tunnel ${limits.idleMsMax}ms
  retries ${retries}
`;
  if (tcpPort !== undefined) {
    return `${head}  mode tcp\n  timeout server ${limits.idleMsMax}ms\n`;
  }
  const waker = `  server waker unix@${WAKER_SOCKET_IN_ROOT} backup\n`;
  return `${head}  timeout server ${limits.answerMsMax}ms
  http-request set-timeout server ${limits.idleMsMax}ms if { req.hdr(accept) -m sub text/event-stream }
${renderRetries(route)}  http-request add-header X-Strata-Route ${id}
${renderRedirect(route, httpsPort)}${renderSticky(route)}${routeAnswers(route)}${wakes ? waker : ""}`;
}

/** A copy of each request is kept for this: none where nothing is tried again. */
function renderRetries({ retries }: IngressRoute): string {
  if (retries === 0) return "";
  return `  retry-on conn-failure empty-response
  http-request disable-l7-retry if !{ method GET HEAD OPTIONS PUT DELETE TRACE }
`;
}

function renderRedirect({ redirectToHttps }: IngressRoute, httpsPort: number | undefined): string {
  if (!redirectToHttps || httpsPort === undefined) return "";
  const port = httpsPort === 443 ? "" : `:${httpsPort}`;
  return `  http-request redirect location https://%[${HOST}]${port}%[pathq] code 308 unless { ssl_fc }\n`;
}

function renderSticky({ id, sticky }: IngressRoute): string {
  if (!sticky) return "";
  // Names differ, because routes of one host share its cookies.
  const name = createHash("sha256").update(id).digest("hex").slice(0, 8);
  return `  dynamic-cookie-key ${cookieKey({ id })}
  cookie STRATA-${name} insert indirect nocache httponly dynamic attr SameSite=Lax
`;
}

/** The same on every ingress, so that a client may come back by another one. */
export function cookieKey({ id }: Pick<IngressRoute, "id">): string {
  return createHash("sha256").update(`cookie ${id}`).digest("hex").slice(0, 32);
}

function renderServers({ route, servers }: RoutePlan): string {
  return [...servers]
    .map(
      ([name, server]) =>
        `  server ${name} ${renderServer(server, route)}${server.takesNew ? "" : " disabled"}\n`,
    )
    .join("");
}

/** What follows the name of a server, in the configuration and in a command. */
export function renderServer(
  { address, port, weight }: ServerPlan,
  { sendProxyProtocol, limits }: IngressRoute,
): string {
  const place = isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`;
  const atOnce = limits.requestsPerProcess;
  return [
    place,
    `weight ${weight}`,
    "pool-purge-delay 2s",
    ...(sendProxyProtocol ? ["send-proxy-v2"] : []),
    ...(atOnce === undefined ? [] : [`maxconn ${atOnce}`]),
  ].join(" ");
}
