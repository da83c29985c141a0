/** How subscriptions are found and reached, and which nodes let the world in. */
import { z } from "zod";

import { Alias } from "../names.ts";

/** Who of the processes of the installation may open connections to a subscription's: those of its tenant, those of
 * the named subscriptions of its tenant, or those of every tenant. */
const NetworkAccess = z.union([z.enum(["tenant", "everyone"]), z.array(Alias).max(256)]);

export const SubscriptionNetwork = z.strictObject({
  access: NetworkAccess.default("tenant"),
  /** Whether an ingress answers under `alias.tenant.DOMAIN` without a route of its own. */
  route: z.boolean().default(true),
});
export type SubscriptionNetwork = z.infer<typeof SubscriptionNetwork>;

/** `ingress`: lets requests in from outside and leads them to processes. */
const nodeRoles = ["ingress"] as const;
export const NodeRole = z.enum(nodeRoles);
export type NodeRole = z.infer<typeof NodeRole>;

export const NodeRoles = z
  .array(NodeRole)
  .max(nodeRoles.length)
  .refine((roles) => new Set(roles).size === roles.length, "a role is named twice");

/** Null has the node follow its partition again. */
export const NodeRolesInput = z.strictObject({ roles: NodeRoles.nullable() });

const hostLabel = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?";
const hostPattern = new RegExp(`^(\\*\\.)?(${hostLabel}\\.)*${hostLabel}$`);

/** A name of RFC 1123; `*.` before it stands for one label or more. */
export const Host = z
  .string()
  .max(253)
  .regex(
    hostPattern,
    "a host is a name such as shop.example.com or *.example.com, in lower case, without a port",
  );
