import { createServer } from "node:net";

import type { Port } from "@strata/protocol/agent/messages";

import type { PortRange } from "../config.ts";
import { AgentError } from "../errors.ts";

/** A port with the place on the host that it got. */
export type BoundPort = Port & { readonly hostPort: number };

export type PortRequest = {
  readonly ports: readonly Port[];
  /** What the process had before: kept when still possible, so that a restart changes no address. */
  readonly previous: readonly BoundPort[];
  /** `tcp/20000`: what other processes of this node hold. */
  readonly taken: ReadonlySet<string>;
  readonly range: PortRange;
};

export function portKey({ protocol, hostPort }: { protocol: string; hostPort: number }): string {
  return `${protocol}/${hostPort}`;
}

/** Gives every port one on the host: the wanted, else the one it had, else the first free of the range. Pure.
 * @throws AgentError PORT_TAKEN, NODE_FULL */
export function allocateHostPorts(request: PortRequest): readonly BoundPort[] {
  const used = new Set(request.taken);
  // Wishes first, or a free choice could take what a later port asks for.
  for (const { protocol, hostPort } of request.ports) {
    if (hostPort === undefined) continue;
    const key = portKey({ protocol, hostPort });
    if (used.has(key)) throw portTaken(key, "another process of this node");
    used.add(key);
  }
  return request.ports.map((port) => {
    if (port.hostPort !== undefined) return { ...port, hostPort: port.hostPort };
    const had = request.previous.find(
      ({ name, protocol }) => name === port.name && protocol === port.protocol,
    );
    const hostPort = pickFree(port.protocol, { had: had?.hostPort, used, range: request.range });
    used.add(portKey({ protocol: port.protocol, hostPort }));
    return { ...port, hostPort };
  });
}

export function portTaken(key: string, holder: string): AgentError {
  return new AgentError("PORT_TAKEN", `${key} is held by ${holder}`, {
    hint: "leave hostPort out, or choose another",
    retryable: true,
  });
}

type FreeChoice = {
  readonly had: number | undefined;
  readonly used: ReadonlySet<string>;
  readonly range: PortRange;
};

function pickFree(protocol: string, { had, used, range }: FreeChoice): number {
  if (had !== undefined && !used.has(portKey({ protocol, hostPort: had }))) return had;
  for (let hostPort = range.first; hostPort <= range.last; hostPort += 1) {
    if (!used.has(portKey({ protocol, hostPort }))) return hostPort;
  }
  throw new AgentError(
    "NODE_FULL",
    `all host ports from ${range.first} to ${range.last} are taken`,
    {
      hint: "widen STRATA_HOST_PORTS",
      retryable: true,
    },
  );
}

/** True when no program of the host listens on this TCP port. A published port would take its connections. */
export function isPortFree(hostPort: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const server = createServer();
  server.once("error", () => resolve(false));
  server.listen({ port: hostPort, host: "0.0.0.0", exclusive: true }, () => {
    server.close(() => resolve(true));
  });
  return promise;
}
