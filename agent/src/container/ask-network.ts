import { request } from "node:http";
import { connect } from "node:net";

import type { HealthProbe, HttpProbe, TcpProbe } from "@strata/protocol/agent/probes";
import { getErrorCode } from "@strata/protocol/errors";

import type { Answer } from "./health-state.ts";

/** Asks one application at its address. Never rejects, and is over within the probe's timeout. */
export function askNetwork(address: string, probe: HealthProbe): Promise<Answer> {
  return probe.kind === "tcp" ? askTcp(address, probe) : askHttp(address, probe);
}

function askTcp(address: string, { port, timeoutMs }: TcpProbe): Promise<Answer> {
  const { promise, resolve } = Promise.withResolvers<Answer>();
  const what = `TCP port ${port}`;
  const socket = connect({ host: address, port, timeout: timeoutMs });
  const settle = (answer: Answer): void => {
    socket.destroy();
    resolve(answer);
  };
  socket.once("connect", () => settle({ isWell: true }));
  socket.once("timeout", () => settle(silent(what, timeoutMs)));
  socket.once("error", (error) => settle(broken(what, error)));
  return promise;
}

function askHttp(address: string, probe: HttpProbe): Promise<Answer> {
  const { port, path, headers = {}, timeoutMs } = probe;
  const { promise, resolve } = Promise.withResolvers<Answer>();
  const what = `GET :${port}${path}`;
  // The timer bounds the whole answer's head; the body is not read.
  const timer = setTimeout(() => {
    resolve(silent(what, timeoutMs));
    outgoing.destroy();
  }, timeoutMs);
  const settle = (answer: Answer): void => {
    clearTimeout(timer);
    resolve(answer);
  };
  const outgoing = request({ host: address, port, path, headers, agent: false }, (incoming) => {
    const status = incoming.statusCode ?? 0;
    incoming.destroy();
    const isWell = status >= 200 && status < 400;
    settle(isWell ? { isWell } : { isWell, why: `${what} answered ${status}` });
  });
  outgoing.on("error", (error) => settle(broken(what, error)));
  outgoing.end();
  return promise;
}

function silent(what: string, timeoutMs: number): Answer {
  return { isWell: false, why: `${what} did not answer within ${timeoutMs / 1000} s` };
}

function broken(what: string, error: Error): Answer {
  return { isWell: false, why: `${what}: ${getErrorCode(error) ?? "no answer"}` };
}
