import { existsSync, readFileSync } from "node:fs";

import { ControllerError } from "../errors.ts";
import { writeFileDurably } from "../pki/durable-file.ts";
import { deleteToken, getToken, getTokenByName, insertToken } from "../store/tokens.ts";
import type { Store } from "../store/unit.ts";
import { formatCredential, hashSecret, readCredential, secretMatches } from "./secret.ts";

/** Of the token whose secret is in the file. */
export const ADMIN_TOKEN_NAME = "admin";

/** Makes sure that the file holds a token with the scope `admin`. The file is root's alone, so what it says is believed:
 * a token that the database does not know (a crash between the two writes, a database restored from a backup) is
 * entered, and a missing file gets a new token while the old one is revoked.
 * @throws ControllerError SETTING_INVALID when the file holds something else. */
export function ensureAdminToken(store: Store, file: string, newSecret: () => string): void {
  const present = existsSync(file) ? readFileSync(file, "utf8").trim() : undefined;
  store.write((unit) => {
    const credential =
      present === undefined
        ? { id: `token-${unit.newId()}`, secret: newSecret() }
        : readCredential(present);
    if (credential === undefined) {
      throw new ControllerError("SETTING_INVALID", `${file} holds no token`, {
        hint: "delete the file and start again: a new admin token is written to it",
      });
    }
    const known = getToken(unit.sql, credential.id);
    if (known !== undefined && secretMatches(credential.secret, known.secretHash)) return;
    if (present === undefined) writeFileDurably(file, `${formatCredential(credential)}\n`);
    const replaced = known ?? getTokenByName(unit.sql, ADMIN_TOKEN_NAME);
    if (replaced !== undefined) deleteToken(unit.sql, replaced.id);
    insertToken(unit.sql, {
      id: credential.id,
      name: ADMIN_TOKEN_NAME,
      scope: "admin",
      tenant: "default",
      secretHash: hashSecret(credential.secret),
      createdAt: unit.now,
      previousSecretHash: null,
      previousExpiresAt: null,
      ratePerMinute: null,
      expiresAt: null,
      lastUsedAt: null,
    });
    unit.emit({
      type: "token.created",
      tenant: "default",
      subject: ADMIN_TOKEN_NAME,
      message: "the admin token was made",
    });
  });
}
