/** Reads certificates that others made: what a tenant uploads, and what an ACME server answers. */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  X509Certificate,
} from "node:crypto";

import type { CertificateFacts } from "../domain/certificates/model.ts";
import { ControllerError } from "../errors.ts";

export type CheckedCertificate = {
  /** The certificate and those between it and the CA, in PEM. */
  readonly chain: string;
  /** PKCS #8, in PEM. */
  readonly key: string;
  readonly facts: CertificateFacts;
};

const CHAIN_MAX = 10;
const NAMES_MAX = 250;
const RSA_BITS_MIN = 2048;
const CURVES: ReadonlySet<string> = new Set(["prime256v1", "secp384r1", "secp521r1"]);
const HINT =
  "send the certificate, then those between it and the CA, and its own key without a passphrase, all in PEM";

/** @throws ControllerError CERTIFICATE_INVALID saying what does not fit */
export function readCertificate(
  text: { readonly chain: string; readonly key: string },
  nowMs: number,
): CheckedCertificate {
  const chain = readChain(text.chain);
  const [leaf] = chain;
  const key = readKey(text.key);
  if (leaf === undefined || !leaf.publicKey.equals(createPublicKey(key)))
    throw invalid("the key is not that of the first certificate");
  const facts = describeCertificate(leaf);
  if (Date.parse(facts.notAfter) <= nowMs)
    throw invalid(`the certificate ended at ${facts.notAfter}`);
  if (facts.names.length === 0) throw invalid("the certificate names no host");
  if (facts.names.length > NAMES_MAX)
    throw invalid(`the certificate names ${facts.names.length} hosts; ${NAMES_MAX} are the most`);
  return {
    chain: chain.map((one) => one.toString()).join(""),
    key: key.export({ type: "pkcs8", format: "pem" }),
    facts,
  };
}

function describeCertificate(certificate: X509Certificate): CertificateFacts {
  return {
    names: readNames(certificate.subjectAltName ?? ""),
    issuer: certificate.issuer.replaceAll("\n", ", "),
    notBefore: certificate.validFromDate.toISOString(),
    notAfter: certificate.validToDate.toISOString(),
    fingerprint: createHash("sha256").update(certificate.raw).digest("hex"),
  };
}

/** Node writes an odd value in quotes; none of those is a host. */
function readNames(subjectAltName: string): readonly string[] {
  return subjectAltName.split(", ").flatMap((entry) => {
    const [, name] = /^DNS:((?:\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}))$/.exec(entry) ?? [];
    return name === undefined ? [] : [name.toLowerCase()];
  });
}

function readChain(text: string): readonly X509Certificate[] {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw invalid("there is no certificate in the chain");
  if (blocks.length > CHAIN_MAX)
    throw invalid(
      `there are ${blocks.length} certificates in the chain; ${CHAIN_MAX} are the most`,
    );
  const chain = blocks.map((block, index) => {
    try {
      return new X509Certificate(block);
    } catch (cause) {
      throw invalid(`certificate ${index + 1} of the chain cannot be read`, cause);
    }
  });
  for (const [index, one] of chain.entries()) {
    const issuer = chain[index + 1];
    if (issuer !== undefined && !one.checkIssued(issuer))
      throw invalid(`certificate ${index + 1} of the chain is not signed by the one after it`);
  }
  return chain;
}

function readKey(text: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey(text);
  } catch (cause) {
    throw invalid("the key cannot be read", cause);
  }
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  const isGood =
    (type === "rsa" && (details?.modulusLength ?? 0) >= RSA_BITS_MIN) ||
    (type === "ec" && CURVES.has(details?.namedCurve ?? ""));
  if (isGood) return key;
  throw invalid(`the key is ${type ?? "of a kind"} that browsers do not take`);
}

function invalid(message: string, cause?: unknown): ControllerError {
  return new ControllerError("CERTIFICATE_INVALID", message, {
    ...(cause === undefined ? {} : { cause }),
    hint: HINT,
  });
}
