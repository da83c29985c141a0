import { parseJoinToken } from "@strata/protocol/agent/join-token";
import { type JoinRequest, PROTOCOL_VERSION } from "@strata/protocol/agent/messages";
import { choiceKey } from "@strata/protocol/api/autoscale";
import { LABEL_LENGTH_MAX } from "@strata/protocol/names";

import { formatCredential, hashSecret } from "../access/secret.ts";
import { ControllerError } from "../errors.ts";
import {
  getNodeByName,
  getNodeOfMachine,
  insertNode,
  type NodeRow,
  updateNode,
} from "../store/nodes.ts";
import { getPartition, getPartitionPolicy, parsePartitionPolicy } from "../store/partitions.ts";
import { getJoinTokenByHash, type JoinTokenRow, setJoinTokenUses } from "../store/tokens.ts";
import type { Unit } from "../store/unit.ts";
import { getVmOfJoinToken, updateVm, type VmRow } from "../store/vms.ts";

export type Join = {
  /** What came as Bearer: the secret of a join token, or the whole token. */
  readonly bearer: string;
  readonly request: JoinRequest;
  readonly newSecret: () => string;
};

export type Joined = { readonly node: NodeRow; readonly credential: string };

/** Makes a node of the machine and gives out its credential. A machine that joins again under the same name gets its
 * identity back and a new credential; with the token that it used before this costs no use, so that an answer that was
 * lost on the way can be asked for again.
 * @throws ControllerError JOIN_TOKEN_INVALID, PROTOCOL_UNSUPPORTED */
export function joinNode(unit: Unit, { bearer, request, newSecret }: Join): Joined {
  requireProtocol(request.protocolVersion);
  const token = requireJoinToken(unit, bearer);
  const known = getNodeOfMachine(unit.sql, {
    machineId: request.machineId,
    partition: token.partition,
  }).find(({ name, id }) => name === request.name || name === suffixed(request.name, id));
  if (known?.joinTokenId !== token.id) spendUse(unit, token);
  const secret = newSecret();
  const vm = getVmOfJoinToken(unit.sql, token.id);
  const facts = {
    address: request.address,
    architecture: request.architecture,
    kernel: request.kernel,
    agentVersion: request.agentVersion,
    labels: { ...request.labels, ...(vm === undefined ? {} : labelsOfLine(unit, vm)) },
    capacity: request.capacity,
    joinTokenId: token.id,
    credentialHash: hashSecret(secret),
    presence: "present" as const,
    awaySince: null,
    // Joining is done by a command; whether the agent runs shows with its first report.
    lastSeenAt: null,
    updatedAt: unit.now,
  };
  const node: NodeRow =
    known === undefined
      ? { ...newNode(unit, { request, partition: token.partition }), ...facts }
      : { ...known, ...facts, revision: known.revision + 1 };
  if (known === undefined) insertNode(unit.sql, node);
  else updateNode(unit.sql, node.id, node);
  if (vm !== undefined) updateVm(unit.sql, vm.id, { nodeId: node.id });
  unit.emit({
    type: known === undefined ? "node.joined" : "node.rejoined",
    subject: node.name,
    message: `node ${node.name} joined partition ${node.partition}`,
    data: { nodeId: node.id, address: node.address, capacity: node.capacity },
  });
  return { node, credential: formatCredential({ id: node.id, secret }) };
}

/** What the line of the policy that the VM was made from has its nodes labelled with. */
function labelsOfLine(unit: Unit, vm: VmRow): NodeRow["labels"] {
  const name = getPartition(unit.sql, vm.partition)?.policy ?? "";
  const policy = getPartitionPolicy(unit.sql, name);
  const lines = policy === undefined ? [] : parsePartitionPolicy(policy).providers;
  return lines.find((line) => choiceKey(line) === vm.offer)?.labels ?? {};
}

function requireProtocol(version: number): void {
  if (version === PROTOCOL_VERSION) return;
  throw new ControllerError(
    "PROTOCOL_UNSUPPORTED",
    `the agent speaks protocol ${version}, this controller ${PROTOCOL_VERSION}`,
    { hint: "install the agent that this controller serves: GET /install.sh" },
  );
}

function requireJoinToken(unit: Unit, bearer: string): JoinTokenRow {
  const secret = bearer.startsWith("strata.") ? parseJoinToken(bearer).secret : bearer;
  const token = getJoinTokenByHash(unit.sql, hashSecret(secret));
  if (token !== undefined && Date.parse(token.expiresAt) > unit.nowMs) return token;
  throw refusal("the join token is unknown or expired");
}

function spendUse(unit: Unit, token: JoinTokenRow): void {
  if (token.usesLeft < 1) throw refusal("the join token is used up");
  setJoinTokenUses(unit.sql, token.id, token.usesLeft - 1);
}

function refusal(message: string): ControllerError {
  return new ControllerError("JOIN_TOKEN_INVALID", message, {
    hint: "make a new one: POST /v1/join-tokens",
  });
}

type Facts =
  | "address"
  | "architecture"
  | "kernel"
  | "agentVersion"
  | "labels"
  | "capacity"
  | "joinTokenId"
  | "credentialHash"
  | "presence"
  | "awaySince"
  | "lastSeenAt"
  | "updatedAt";

function newNode(
  unit: Unit,
  { request, partition }: { request: JoinRequest; partition: string },
): Omit<NodeRow, Facts> {
  const id = `node-${unit.newId()}`;
  const taken = getNodeByName(unit.sql, request.name) !== undefined;
  return {
    id,
    name: taken ? suffixed(request.name, id) : request.name,
    partition,
    machineId: request.machineId,
    admission: "open",
    drainedBy: null,
    drainDeadline: null,
    upgrade: null,
    roles: null,
    assignmentRevision: 1,
    revision: 1,
    createdAt: unit.now,
  };
}

/** The name of a node whose wish another has already. */
function suffixed(name: string, id: string): string {
  const suffix = id.slice("node".length);
  return `${name.slice(0, LABEL_LENGTH_MAX - suffix.length)}${suffix}`;
}
