/** The audit log: who asked for a change, from where, and what came of it. */
import { z } from "zod";

import { scopes } from "../access.ts";

export const AuditEntry = z.object({
  /** Grows; `?after=` of the next page. */
  id: z.int().positive(),
  at: z.iso.datetime(),
  /** Id of a token or node, `ISSUER#SUBJECT` of an OIDC token, or `anonymous`. */
  principal: z.string(),
  /** Null for whoever showed no valid credential. */
  scope: z.enum(scopes).nullable(),
  /** That the request was for. */
  tenant: z.string(),
  /** Address of the caller; empty when it is not known. */
  address: z.string(),
  method: z.string(),
  path: z.string(),
  status: z.int(),
  /** Of the refusal; null when there was none. */
  code: z.string().nullable(),
  requestId: z.string(),
});
export type AuditEntry = z.infer<typeof AuditEntry>;
