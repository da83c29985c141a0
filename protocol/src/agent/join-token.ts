import { ParseError } from "../coded-error.ts";

/** What `POST /v1/join-tokens` gives out once: which token, its secret, and the SHA-256 of the CA certificate
 * (DER), so that an agent trusts nothing else from its first byte. Text: `strata.<id>.<secret>.<fingerprint hex>`. */
export type JoinToken = {
  readonly id: string;
  readonly secret: string;
  readonly caFingerprint: string;
};

const grammar = /^strata\.([a-z0-9-]{1,63})\.([A-Za-z0-9_-]{20,100})\.([a-f0-9]{64})$/;

/** @throws ParseError. The message never repeats the token. */
export function parseJoinToken(text: string): JoinToken {
  const match = grammar.exec(text.trim());
  if (match === null) {
    throw new ParseError("the join token is malformed", {
      hint: "copy the whole token as POST /v1/join-tokens printed it; it begins with strata.",
    });
  }
  const [, id = "", secret = "", caFingerprint = ""] = match;
  return { id, secret, caFingerprint };
}

export function formatJoinToken(token: JoinToken): string {
  return `strata.${token.id}.${token.secret}.${token.caFingerprint}`;
}

/** The name in the controller's certificate that agents ask for, whatever address they dial. */
export const CONTROLLER_SERVER_NAME = "controller.strata.internal";
