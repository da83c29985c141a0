import { parseJoinToken } from "@strata/protocol/agent/join-token";
import { type JoinRequest, PROTOCOL_VERSION } from "@strata/protocol/agent/messages";
import { getErrorCode } from "@strata/protocol/errors";

import { checkControllerUrl, fetchCa, joinController } from "./controller-client.ts";
import { AgentError } from "./errors.ts";
import { describeMachine } from "./host/machine.ts";
import type { Identity } from "./identity.ts";

export type JoinOptions = {
  readonly controllerUrl: string;
  readonly token: string;
  readonly machineId: string;
  readonly agentVersion: string;
  /** Left out: the host's name, made fit. */
  readonly name?: string | undefined;
  /** Left out: the address from which this machine reaches the controller. */
  readonly address?: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
};

/** Makes this machine a node of a controller, trusting no more than what the token says.
 * @throws ParseError for a malformed token
 * @throws AgentError CONTROLLER_UNTRUSTED, CONTROLLER_UNREACHABLE, JOIN_REFUSED, CONFIG_INVALID */
export async function join(options: JoinOptions): Promise<Identity> {
  const url = checkControllerUrl(options.controllerUrl);
  const token = parseJoinToken(options.token);
  const machine = await describeMachine(url);
  const caPem =
    url.protocol === "https:" ? await fetchCa(url.origin, token.caFingerprint) : undefined;
  const address = options.address ?? machine.address;
  const body: JoinRequest = {
    protocolVersion: PROTOCOL_VERSION,
    name: options.name ?? machine.name,
    machineId: options.machineId,
    os: "linux",
    architecture: machine.architecture,
    kernel: machine.kernel,
    agentVersion: options.agentVersion,
    address,
    capacity: machine.capacity,
    labels: { ...options.labels },
  };
  const answer = await joinController(
    { url: url.origin, caPem },
    { secret: token.secret, body },
  ).catch((cause: unknown) => {
    throw getErrorCode(cause) === "CONTROLLER_REFUSED" ? joinRefused(cause) : cause;
  });
  const { nodeId, name, partition, credential, epoch, beatIntervalMs } = answer;
  return {
    version: 1,
    controllerUrl: url.origin,
    caPem,
    nodeId,
    name,
    partition,
    credential,
    epoch,
    beatIntervalMs,
    address,
  };
}

function joinRefused(cause: unknown): AgentError {
  const why = cause instanceof AgentError ? cause.message : String(cause);
  return new AgentError("JOIN_REFUSED", why, {
    cause,
    hint: "a token is for one controller and may have expired: ask for a new one with POST /v1/join-tokens",
  });
}
