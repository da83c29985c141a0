/** Gets a certificate from an ACME server (RFC 8555), proven by HTTP-01 through the ingresses. */
import type { Client } from "acme-client";

import { exportPrivateKey, generateKey, KEY_ALGORITHM, SIGNATURE } from "./key.ts";
import { type CheckedCertificate, readCertificate } from "./read-certificate.ts";
import { Pkcs10CertificateRequestGenerator, SubjectAlternativeNameExtension } from "./x509.ts";

/** What is answered under `/.well-known/acme-challenge/` (RFC 8555, 8.3). */
export type Challenge = { readonly token: string; readonly answer: string };

export type AcmeOrder = {
  readonly directory: string;
  /** PKCS #8, in PEM. */
  readonly accountKey: string;
  readonly contact: readonly string[];
  /** RFC 8555, 7.3.4; the key in base64url. */
  readonly externalAccount?: { readonly keyId: string; readonly key: string };
  readonly hosts: readonly string[];
  readonly nowMs: number;
  /** Returns when every ingress answers these, or when there is no more sense in waiting. */
  readonly showChallenges: (challenges: readonly Challenge[]) => Promise<void>;
};

const REQUEST_MS_MAX = 30_000;
const ANSWER_BYTES_MAX = 1024 * 1024;
/** One look a second at what the server makes of it, then one every five: about four minutes in all. */
const LOOKS = { backoffAttempts: 50, backoffMin: 1000, backoffMax: 5000 };

/** Tries once. Our client is loaded when it is needed first: most installations never need it.
 * @throws Error with what the server says; ControllerError CERTIFICATE_INVALID for an answer of no use */
export async function orderCertificate(order: AcmeOrder): Promise<CheckedCertificate> {
  const { directory, accountKey, externalAccount, contact, hosts } = order;
  const { default: acme } = await import("acme-client");
  // It has an axios of its own, which would try again for as long as a server says, and forgets in the end what was
  // wrong with the connection.
  acme.axios.interceptors.request.clear();
  acme.axios.interceptors.response.clear();
  Object.assign(acme.axios.defaults, {
    timeout: REQUEST_MS_MAX,
    maxContentLength: ANSWER_BYTES_MAX,
    maxRedirects: 0,
  });
  const client = new acme.Client({
    directoryUrl: directory,
    accountKey,
    ...LOOKS,
    ...(externalAccount && {
      externalAccountBinding: { kid: externalAccount.keyId, hmacKey: externalAccount.key },
    }),
  });
  // An account that is there already is found by its key.
  await client.createAccount({
    termsOfServiceAgreed: true,
    contact: contact.map((address) => `mailto:${address}`),
  });
  const placed = await client.createOrder({
    identifiers: hosts.map((value) => ({ type: "dns", value })),
  });
  await proveHosts(client, placed, order);
  const { request, key } = await createRequest(hosts);
  const finalized = await client.finalizeOrder(placed, request);
  const chain = await client.getCertificate(finalized);
  return readCertificate({ chain, key }, order.nowMs);
}

type Placed = Parameters<Client["getAuthorizations"]>[0];

async function proveHosts(
  client: Client,
  placed: Placed,
  { showChallenges }: AcmeOrder,
): Promise<void> {
  const authorizations = await client.getAuthorizations(placed);
  const open = authorizations.filter(({ status }) => status === "pending");
  if (open.length === 0) return;
  const asked = open.map((authorization) => {
    const challenge = authorization.challenges.find(({ type }) => type === "http-01");
    if (challenge !== undefined) return { authorization, challenge };
    throw new Error(`the server does not take HTTP-01 for ${authorization.identifier.value}`);
  });
  await showChallenges(
    await Promise.all(
      asked.map(async ({ challenge }) => ({
        token: challenge.token,
        answer: await client.getChallengeKeyAuthorization(challenge),
      })),
    ),
  );
  for (const { challenge } of asked) await client.completeChallenge(challenge);
  try {
    for (const { authorization } of asked) await client.waitForValidStatus(authorization);
  } catch (cause) {
    throw new Error(await explainRefusal(client, placed, cause), { cause });
  }
}

/** What the server says of the hosts that it could not prove. */
async function explainRefusal(client: Client, placed: Placed, cause: unknown): Promise<string> {
  const authorizations = await client.getAuthorizations(placed).catch(() => []);
  const reasons = authorizations.flatMap(({ identifier, challenges }) =>
    challenges.flatMap(({ error }) =>
      error === undefined ? [] : [`${identifier.value}: ${readDetail(error)}`],
    ),
  );
  if (reasons.length > 0) return reasons.join("; ");
  return cause instanceof Error ? cause.message : "the server did not prove the hosts";
}

/** Of a problem document (RFC 8555, 6.7). */
function readDetail(error: object): string {
  return "detail" in error && typeof error.detail === "string" ? error.detail : "refused";
}

/** In PEM, with its key. */
async function createRequest(
  hosts: readonly string[],
): Promise<{ readonly request: string; readonly key: string }> {
  const keys = await generateKey();
  const request = await Pkcs10CertificateRequestGenerator.create({
    keys,
    signingAlgorithm: { ...KEY_ALGORITHM, ...SIGNATURE },
    extensions: [
      new SubjectAlternativeNameExtension(hosts.map((value) => ({ type: "dns", value }))),
    ],
  });
  return { request: request.toString("pem"), key: await exportPrivateKey(keys.privateKey) };
}
