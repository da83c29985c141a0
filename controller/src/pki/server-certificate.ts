/** The certificate of the controller's TLS listener, signed by its own CA. */
import { createHash, createPublicKey, X509Certificate } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";

import type { Authority } from "./authority.ts";
import { writeFileDurably } from "./durable-file.ts";
import { exportPrivateKey, generateKey, importPublicKey, privateKeyPem } from "./key.ts";
import { signCertificate } from "./sign-certificate.ts";

export type ServerCertificate = {
  /** Certificate and CA, in this order. */
  readonly chainPem: string;
  readonly keyPem: string;
  readonly notAfterMs: number;
  /** For curl's `--pinnedpubkey`: base64 of the SHA-256 of the public key. The key outlives renewals. */
  readonly publicKeyPin: string;
};

const LIFETIME_MS = 90 * 86_400_000;
const RENEW_BEFORE_MS = 30 * 86_400_000;

export type CertificateRequest = {
  readonly directory: string;
  readonly authority: Authority;
  /** Host names and addresses that clients may dial. */
  readonly names: readonly string[];
  readonly nowMs: number;
};

/** Reads the certificate of the folder, and makes a new one when there is none, when it ends within 30 days, when
 * another CA signed it, or when `names` changed. */
export async function ensureServerCertificate(
  request: CertificateRequest,
): Promise<ServerCertificate> {
  const file = join(request.directory, "server.pem");
  if (!existsSync(file)) writeFileDurably(file, await issue(request, await newKeyPem()));
  const present = readFileSync(file, "utf8");
  if (isGood(new X509Certificate(present), request)) return describe(present, request.authority);
  const renewed = await issue(request, privateKeyPem(present));
  writeFileDurably(file, renewed);
  return describe(renewed, request.authority);
}

function isGood(certificate: X509Certificate, request: CertificateRequest): boolean {
  const ca = new X509Certificate(request.authority.certificatePem);
  const wanted = request.names.map(formatName).toSorted();
  const present = (certificate.subjectAltName ?? "").split(", ").toSorted();
  return (
    Date.parse(certificate.validTo) - request.nowMs > RENEW_BEFORE_MS &&
    Date.parse(certificate.validFrom) <= request.nowMs &&
    certificate.verify(ca.publicKey) &&
    wanted.length === present.length &&
    wanted.every((name, index) => name === present[index])
  );
}

/** As `X509Certificate.subjectAltName` writes it. */
function formatName(name: string): string {
  if (isIP(name) === 4) return `IP Address:${name}`;
  if (isIP(name) === 6) return `IP Address:${expandIpv6(name)}`;
  return `DNS:${name}`;
}

/** OpenSSL writes `0:0:0:0:0:0:0:1`, in capitals. */
function expandIpv6(address: string): string {
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [head = "", tail] = canonical.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  return [...left, ...Array<string>(zeros).fill("0"), ...right].join(":").toUpperCase();
}

async function newKeyPem(): Promise<string> {
  return exportPrivateKey((await generateKey()).privateKey);
}

async function issue(request: CertificateRequest, keyPem: string): Promise<string> {
  const { authority, names, nowMs } = request;
  const certificate = await signCertificate(authority, {
    subject: "CN=Strata controller",
    names,
    publicKey: await importPublicKey(keyPem),
    notBeforeMs: nowMs - 3_600_000,
    notAfterMs: nowMs + LIFETIME_MS,
  });
  return `${certificate}\n${keyPem}`;
}

function describe(pem: string, authority: Authority): ServerCertificate {
  const certificate = new X509Certificate(pem);
  const keyPem = privateKeyPem(pem);
  const spki = createPublicKey(keyPem).export({ type: "spki", format: "der" });
  return {
    chainPem: `${certificate.toString()}${authority.certificatePem}`,
    keyPem,
    notAfterMs: Date.parse(certificate.validTo),
    publicKeyPin: createHash("sha256").update(spki).digest("base64"),
  };
}
