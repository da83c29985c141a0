import { createLogin, type LoginOptions } from "@strata/registry/auth/login";

import type { Clock, Randomness } from "../domain/clock.ts";
import type { Sql } from "../store/database.ts";
import { getOrSetMeta } from "../store/meta.ts";
import type { Auditor } from "./audit.ts";
import type { Authenticate, FindPrincipal } from "./authenticate.ts";
import type { Gate } from "./gate.ts";
import { createRegistryAccounts } from "./registry-accounts.ts";
import { findRealm, type RealmSettings } from "./registry-realm.ts";

export type StoreLoginOptions = Pick<LoginOptions, "logger"> & {
  readonly sql: Sql;
  readonly clock: Clock;
  readonly random: Randomness;
  readonly authenticate: Authenticate;
  readonly findPrincipal: FindPrincipal;
  readonly gate: Pick<Gate, "admitToStore">;
  readonly auditor: Pick<Auditor, "current">;
  readonly config: RealmSettings;
};

/** Lets our tokens into the store. The key of its access tokens outlasts a restart, so that pushes under way go on. */
export function createStoreLogin(options: StoreLoginOptions): ReturnType<typeof createLogin> {
  const { sql, clock, random, config, logger } = options;
  return createLogin({
    accounts: createRegistryAccounts(options),
    key: Buffer.from(getOrSetMeta(sql, "storeTokenKey", random.newSecret())),
    service: "strata",
    findRealm: (origin) => findRealm(config, origin),
    clock: clock.nowMs,
    logger,
  });
}
