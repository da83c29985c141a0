/** One order at an ACME server, as a tenant's account. */
import { setTimeout } from "node:timers/promises";

import type { CertificateSpec } from "../domain/certificates/model.ts";
import { type AcmeOrder, orderCertificate } from "../pki/acme.ts";
import { exportPrivateKey, generateKey } from "../pki/key.ts";
import type { CheckedCertificate } from "../pki/read-certificate.ts";
import type { SecretBox } from "../pki/secret-box.ts";
import {
  deleteChallenges,
  getAcmeAccount,
  saveAcmeAccount,
  saveChallenges,
} from "../store/certificates.ts";
import { getSecret, getSecretVersion } from "../store/secrets.ts";
import type { CertificateLoopOptions } from "./certificates.ts";

type AcmeSpec = Extract<CertificateSpec, { source: "acme" }>;
type World = Pick<CertificateLoopOptions, "store" | "box" | "network" | "nowMs">;

/** From the first word to the certificate. */
const ORDER_MS_MAX = 6 * 60_000;
/** An ingress that does not answer by then is not waited for. */
const SHOWN_MS_MAX = 30_000;
const LOOK_MS = 50;

/** @throws Error with what the server says, or when it takes too long */
export async function orderFor(
  world: World,
  { tenant }: { readonly tenant: string },
  { spec, signal }: { readonly spec: AcmeSpec; readonly signal: AbortSignal },
): Promise<CheckedCertificate> {
  const { hosts, directory, contact } = spec;
  const tokens: string[] = [];
  const limit = AbortSignal.any([signal, AbortSignal.timeout(ORDER_MS_MAX)]);
  try {
    const externalAccount = readExternalAccount(world, tenant, spec);
    const order = orderCertificate({
      directory,
      hosts,
      contact,
      nowMs: world.nowMs(),
      accountKey: await ensureAccountKey(world, tenant, spec),
      ...(externalAccount && { externalAccount }),
      showChallenges: async (challenges) => {
        limit.throwIfAborted();
        tokens.push(...challenges.map(({ token }) => token));
        world.store.write((unit) => saveChallenges(unit.sql, challenges));
        await untilShown(world, limit);
      },
    });
    return await beforeAbort(order, limit);
  } finally {
    world.store.write((unit) => deleteChallenges(unit.sql, tokens));
  }
}

async function untilShown({ network }: World, signal: AbortSignal): Promise<void> {
  const revision = network.revision();
  for (let look = 0; look < SHOWN_MS_MAX / LOOK_MS; look += 1) {
    if (network.isCarriedOut(revision)) return;
    await setTimeout(LOOK_MS, undefined, { signal });
  }
}

/** The client cannot be interrupted: what it still does after the limit is of no effect here. */
async function beforeAbort<Result>(work: Promise<Result>, signal: AbortSignal): Promise<Result> {
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(new Error("the server took too long"));
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** Made at the first order: the server knows who we are by it. */
async function ensureAccountKey(
  { store, box, nowMs }: World,
  tenant: string,
  spec: AcmeSpec,
): Promise<string> {
  const { directory, externalAccount } = spec;
  const id = { tenant, directory, keyId: externalAccount?.keyId ?? "" };
  const owner: Parameters<SecretBox["seal"]>[0] = {
    tenant,
    name: `acme/${directory}#${id.keyId}`,
    version: 1,
  };
  const known = getAcmeAccount(store.sql, id);
  if (known !== undefined) return box.open(owner, known.sealedKey).toString();
  const key = await exportPrivateKey((await generateKey()).privateKey);
  const createdAt = new Date(nowMs()).toISOString();
  return store.write((unit) => {
    // Another order of the tenant may have made it meanwhile.
    const made = getAcmeAccount(unit.sql, id);
    if (made !== undefined) return box.open(owner, made.sealedKey).toString();
    const sealedKey = box.seal(owner, Buffer.from(key));
    saveAcmeAccount(unit.sql, { ...id, sealedKey, createdAt });
    return key;
  });
}

/** @throws Error when the tenant has no such secret */
function readExternalAccount(
  { store, box }: World,
  tenant: string,
  { externalAccount }: AcmeSpec,
): AcmeOrder["externalAccount"] {
  if (externalAccount === undefined) return undefined;
  const { keyId, secret: name } = externalAccount;
  const secret = getSecret(store.sql, { tenant, name });
  const version = secret && getSecretVersion(store.sql, secret);
  if (version === undefined) throw new Error(`there is no secret ${name} with the account's key`);
  return { keyId, key: box.open(version, version.sealed).toString().trim() };
}
