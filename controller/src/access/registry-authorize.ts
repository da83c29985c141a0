import { scopeIncludes } from "@strata/protocol/access";
import type { Authorize } from "@strata/registry/authorize";

import type { Authenticate } from "./authenticate.ts";
import { bearerOf } from "./bearer.ts";

/** Lets our tokens into the store: as Bearer, or as the password of Basic, which is what skopeo and podman log in
 * with. The user name is of no interest then. */
export function createRegistryAuthorize(authenticate: Authenticate): Authorize {
  return ({ authorization, action }) => {
    const caller = authenticate(bearerOf(authorization) ?? "");
    if (caller === undefined) return { kind: "challenge", wwwAuthenticate: 'Basic realm="strata"' };
    const needed = action === "pull" ? "pull" : action === "push" ? "push" : "deployer";
    return scopeIncludes(caller.scope, needed)
      ? { kind: "allowed", subject: caller.id }
      : { kind: "denied" };
  };
}
