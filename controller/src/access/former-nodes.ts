import { ControllerError } from "../errors.ts";
import type { Sql } from "../store/database.ts";
import { getFormerNode } from "../store/former-nodes.ts";
import { readCredential, secretMatches } from "./secret.ts";

/** The node of this agent was deleted. The epoch says by whose word: the agent gives its processes up for that of the
 * state that it knows, and for no other. */
export class DecommissionedError extends ControllerError {
  readonly epoch: string;

  constructor(name: string, epoch: string) {
    super("NODE_DECOMMISSIONED", `node ${name} was deleted by an operator`, {
      hint: "to make a node of this machine again, join with a new token",
    });
    this.epoch = epoch;
  }
}

/** Throws for the credential of a node that was deleted; says nothing of others.
 * @throws DecommissionedError */
export type RefuseFormerNode = (credential: string) => void;

export function createRefuseFormerNode(sql: Sql, epoch: () => string): RefuseFormerNode {
  return (text) => {
    const credential = readCredential(text);
    const former = credential && getFormerNode(sql, credential.id);
    if (credential === undefined || former === undefined) return;
    if (secretMatches(credential.secret, former.credentialHash))
      throw new DecommissionedError(former.name, epoch());
  };
}
