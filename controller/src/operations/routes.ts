import type { Scope } from "@strata/protocol/access";
import { scopeIncludes } from "@strata/protocol/access";
import { RouteInput } from "@strata/protocol/api/routes";
import { z } from "zod";

import { findHostFault, type HostFault } from "../domain/network/host-rules.ts";
import { ControllerError } from "../errors.ts";
import {
  deleteRoute,
  getRoute,
  listRoutes,
  parseRoute,
  type RouteKey,
  type RouteRow,
  saveRoute,
} from "../store/routes.ts";
import { getSubscription } from "../store/subscriptions.ts";
import type { Unit } from "../store/unit.ts";
import { specOf } from "./rollouts.ts";
import {
  type Outcome,
  type Precondition,
  requireFound,
  requirePrecondition,
  requireReference,
  upsert,
} from "./upsert.ts";

export type PutRoute = RouteKey & {
  readonly input: RouteInput;
  /** Of whoever asks. */
  readonly scope: Scope;
  /** Of the installation. */
  readonly domain: string;
  readonly precondition?: Precondition;
};

/** Ports below belong to the machines. */
const TCP_PORT_MIN = 1024;

/** @throws ControllerError REFERENCE_UNKNOWN, HOST_TAKEN, PORT_TAKEN, FORBIDDEN */
export function putRoute(unit: Unit, put: PutRoute): Outcome<RouteRow> {
  const { tenant, name, input, precondition } = put;
  requireBackends(unit, put);
  const others = listRoutes(unit.sql)
    .filter((row) => row.tenant !== tenant || row.name !== name)
    .map((row) => ({ tenant: row.tenant, name: row.name, ...parseRoute(row) }));
  requireHosts(put, others);
  requireTcpPort(put, others);
  const spec = z.encode(RouteInput, input);
  return upsert(unit, {
    kind: "route",
    name,
    tenant,
    current: getRoute(unit.sql, put),
    fields: { spec },
    precondition,
    toRow: (fields, stored) => ({ tenant, name, ...fields, ...stored }),
    save: (row) => saveRoute(unit.sql, row),
  });
}

export function removeRoute(
  unit: Unit,
  { precondition, ...key }: RouteKey & { readonly precondition?: Precondition },
): void {
  const { tenant, name } = key;
  const row = requireFound(getRoute(unit.sql, key), { kind: "route", name });
  requirePrecondition(precondition, row, `route ${name}`);
  deleteRoute(unit.sql, key);
  unit.emit({ type: "route.deleted", tenant, subject: name, message: `route ${name} was deleted` });
}

/** As with what a subscription depends on: what it leads to is there. */
function requireBackends(unit: Unit, { tenant, input }: PutRoute): void {
  for (const { subscription: alias, port } of input.backends) {
    const row = getSubscription(unit.sql, { tenant, alias });
    const live = row?.deletedAt === null ? row : undefined;
    requireReference(live !== undefined, { kind: "subscription", name: alias });
    const ports = (live === undefined ? undefined : specOf(unit, live))?.ports ?? [];
    const tcp = ports.filter(({ protocol }) => protocol === "tcp").map((one) => one.name);
    if (port === undefined ? tcp.length > 0 : tcp.includes(port)) continue;
    const what = port === undefined ? "no TCP port" : `no TCP port ${port}`;
    throw new ControllerError("REFERENCE_UNKNOWN", `subscription ${alias} has ${what}`, {
      hint:
        tcp.length === 0
          ? `give it one: "ports" of the subscription or its cartridge`
          : `it has ${tcp.join(", ")}`,
    });
  }
}

type Other = RouteKey & Pick<RouteInput, "hosts" | "path" | "tcpPort">;

function requireHosts({ tenant, input, scope, domain }: PutRoute, others: readonly Other[]): void {
  const fault = findHostFault({ tenant, hosts: input.hosts }, { domain, others });
  // The domain itself is nobody's: who runs the installation may give it away.
  const mayHave =
    fault?.kind === "domain" && fault.tenant === null && scopeIncludes(scope, "operator");
  if (fault !== undefined && !mayHave) throw hostTaken(fault, { tenant, domain });
  const twin = others.find(
    (other) =>
      other.tenant === tenant &&
      other.path === input.path &&
      other.hosts.some((host) => input.hosts.includes(host)),
  );
  if (twin === undefined) return;
  const host = twin.hosts.find((one) => input.hosts.includes(one)) ?? "";
  throw new ControllerError("HOST_TAKEN", `route ${twin.name} has ${host}${input.path} already`, {
    hint: `change route ${twin.name}, or take another host or path`,
  });
}

/** Whose it is, is nobody else's business. */
function hostTaken(
  { host, kind }: HostFault,
  { tenant, domain }: { readonly tenant: string; readonly domain: string },
): ControllerError {
  return kind === "taken"
    ? new ControllerError("HOST_TAKEN", `another tenant has ${host}, or a part of it`, {
        hint: "take another host, or have the tenant that has it delete its route",
      })
    : new ControllerError("HOST_TAKEN", `${host} is not of tenant ${tenant}`, {
        hint: `below ${domain}, take ${tenant}.${domain} or a host under it`,
      });
}

/** @throws ControllerError PORT_TAKEN, FORBIDDEN */
function requireTcpPort({ input, scope }: PutRoute, others: readonly Other[]): void {
  const { tcpPort } = input;
  if (tcpPort === undefined) return;
  if (tcpPort < TCP_PORT_MIN && !scopeIncludes(scope, "operator"))
    throw new ControllerError("FORBIDDEN", `port ${tcpPort} is an operator's to give away`, {
      hint: `take one from ${TCP_PORT_MIN} on, or ask an operator to put the route`,
    });
  if (others.some((other) => other.tcpPort === tcpPort))
    throw new ControllerError("PORT_TAKEN", `another route has the TCP port ${tcpPort}`, {
      hint: "take another tcpPort",
    });
}
