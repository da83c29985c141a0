/** Certificates of our own CA for hosts that no certificate of their tenant covers, so that HTTPS works without any. */
import { renewAtMs } from "../domain/certificates/due.ts";
import type { HostWish } from "../domain/certificates/model.ts";
import type { Signer } from "../pki/authority.ts";
import { issueHostCertificate } from "../pki/host-certificate.ts";
import type { SecretBox } from "../pki/secret-box.ts";
import {
  deleteHostCertificate,
  listHostCertificates,
  saveHostCertificate,
} from "../store/certificates.ts";
import type { Sql } from "../store/database.ts";
import type { Store } from "../store/unit.ts";
import { readChoices } from "./certificate-wishes.ts";

export type HostCertificateOptions = {
  readonly store: Store;
  readonly box: SecretBox;
  readonly authority: Signer;
};

/** Made in one tick: signing one takes about a millisecond. */
const ISSUES_MAX = 100;

/** Makes those that are missing or end soon, and drops what is shown no more. True when there is more to do. */
export async function keepHostCertificates(
  { store, box, authority }: HostCertificateOptions,
  { wishes, nowMs }: { readonly wishes: readonly HostWish[]; readonly nowMs: number },
): Promise<boolean> {
  const { missing, unwanted } = planHostCertificates(store.sql, { wishes, nowMs });
  const turn = missing.slice(0, ISSUES_MAX);
  const issued = await Promise.all(
    turn.map(async ({ tenant, host }) => {
      const certificate = await issueHostCertificate(authority, { hosts: [host], nowMs });
      return { tenant, host, certificate };
    }),
  );
  if (issued.length === 0 && unwanted.length === 0) return false;
  store.write((unit) => {
    for (const { tenant, host, certificate } of issued) {
      const { chain, key, facts } = certificate;
      const sealedKey = box.seal(hostKeyOwner({ tenant, host }), Buffer.from(key));
      saveHostCertificate(unit.sql, { host, tenant, chain, facts, sealedKey });
    }
    for (const host of unwanted) deleteHostCertificate(unit.sql, host);
  });
  return missing.length > turn.length;
}

/** Whose key it is: under a name that no secret can have. */
export function hostKeyOwner({
  tenant,
  host,
}: {
  readonly tenant: string;
  readonly host: string;
}): Parameters<SecretBox["seal"]>[0] {
  return { tenant, name: `host/${host}`, version: 1 };
}

function planHostCertificates(
  sql: Sql,
  { wishes, nowMs }: { readonly wishes: readonly HostWish[]; readonly nowMs: number },
): {
  readonly missing: readonly { readonly tenant: string; readonly host: string }[];
  readonly unwanted: readonly string[];
} {
  const present = listHostCertificates(sql);
  const choices = readChoices(sql, { wishes, nowMs });
  const shown = new Set(
    choices.flatMap((choice) => (choice.shown?.kind === "automatic" ? [choice.shown.host] : [])),
  );
  const old = present.filter(({ host, facts }) => shown.has(host) && renewAtMs(facts) <= nowMs);
  const missing = [...choices.filter((choice) => choice.shown === undefined), ...old];
  const wanted = new Set([...shown, ...missing.map(({ host }) => host)]);
  return { missing, unwanted: present.flatMap(({ host }) => (wanted.has(host) ? [] : [host])) };
}
