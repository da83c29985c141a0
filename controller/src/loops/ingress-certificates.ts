/** The certificates as the network table carries them to ingresses. */
import { createHash } from "node:crypto";

import type { IngressCertificate } from "@strata/protocol/agent/network";
import type { Logger } from "pino";

import type { Choice } from "../domain/certificates/choose.ts";
import { keyOwner } from "../operations/certificates.ts";
import type { SecretBox } from "../pki/secret-box.ts";
import { getCertificate, getHostCertificate } from "../store/certificates.ts";
import type { Sql } from "../store/database.ts";
import { listHostWishes, readChoices } from "./certificate-wishes.ts";
import { hostKeyOwner } from "./host-certificates.ts";

export type IngressCertificateOptions = {
  readonly sql: Sql;
  readonly box: SecretBox;
  /** STRATA_DOMAIN */
  readonly domain: string;
  readonly nowMs: () => number;
  readonly logger: Logger;
};

const CERTIFICATES_MAX = 10_000;

/** Reads what is shown now: the default one first. Keys are opened once for as long as they are shown; one that cannot
 * be opened is left out, and the log says so. */
export function createIngressCertificates(
  options: IngressCertificateOptions,
): () => readonly IngressCertificate[] {
  let opened: ReadonlyMap<string, string> = new Map();
  return () => {
    const { sql, domain, nowMs } = options;
    const wishes = listHostWishes(sql, domain);
    const hosts = new Map<string, { readonly choice: Choice; readonly hosts: string[] }>();
    for (const choice of readChoices(sql, { wishes, nowMs: nowMs() })) {
      const id = idOf(choice);
      if (id === undefined) continue;
      const known = hosts.get(id) ?? { choice, hosts: [] };
      known.hosts.push(choice.host);
      hosts.set(id, known);
    }
    const kept = new Map<string, string>();
    const shown = [...hosts].slice(0, CERTIFICATES_MAX).flatMap(([id, entry]) => {
      const sealed = readSealed(sql, entry.choice);
      if (sealed === undefined) return [];
      const key = opened.get(sealed.sealedKey) ?? openKey(options, sealed);
      if (key === undefined) return [];
      kept.set(sealed.sealedKey, key);
      return [{ id, hosts: entry.hosts.toSorted(), pem: `${sealed.chain}${key}` }];
    });
    opened = kept;
    return shown;
  };
}

/** Unique, and short whatever the host. */
function idOf({ tenant, shown }: Choice): string | undefined {
  if (shown === undefined) return undefined;
  if (shown.kind === "tenant") return `c.${tenant}.${shown.name}`;
  return `a.${createHash("sha256").update(shown.host).digest("hex").slice(0, 32)}`;
}

type Sealed = {
  readonly owner: Parameters<SecretBox["open"]>[0];
  readonly chain: string;
  readonly sealedKey: string;
};

function readSealed(sql: Sql, { tenant, shown }: Choice): Sealed | undefined {
  if (shown === undefined) return undefined;
  if (shown.kind === "automatic") {
    const row = getHostCertificate(sql, shown.host);
    return row && { owner: hostKeyOwner(row), chain: row.chain, sealedKey: row.sealedKey };
  }
  const key = { tenant, name: shown.name };
  const row = getCertificate(sql, key);
  if (row === undefined || row.chain === null || row.sealedKey === null) return undefined;
  return { owner: keyOwner(key), chain: row.chain, sealedKey: row.sealedKey };
}

function openKey(
  { box, logger }: IngressCertificateOptions,
  { owner, sealedKey }: Sealed,
): string | undefined {
  try {
    return box.open(owner, sealedKey).toString();
  } catch (error) {
    logger.error({ err: error }, "a certificate cannot be shown");
    return undefined;
  }
}
