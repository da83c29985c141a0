import { createPrivateKey, createPublicKey, webcrypto } from "node:crypto";

export const KEY_ALGORITHM = { name: "ECDSA", namedCurve: "P-256" } as const;
export const SIGNATURE = { hash: "SHA-256" } as const;

export async function generateKey(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ["sign", "verify"]);
}

export async function exportPrivateKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", key));
  const lines = der.toString("base64").replace(/.{64}/g, "$&\n").trimEnd();
  return `-----BEGIN PRIVATE KEY-----\n${lines}\n-----END PRIVATE KEY-----\n`;
}

/** From the first private key in the text. */
export async function importPrivateKey(pem: string): Promise<webcrypto.CryptoKey> {
  return webcrypto.subtle.importKey("pkcs8", privateKeyDer(pem), KEY_ALGORITHM, false, ["sign"]);
}

/** Of the first private key in the text, as PKCS #8. */
export function privateKeyDer(pem: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(
    createPrivateKey(privateKeyPem(pem)).export({ type: "pkcs8", format: "der" }),
  );
}

/** Of the private key or certificate that the text begins with. */
export async function importPublicKey(pem: string): Promise<webcrypto.CryptoKey> {
  const der = createPublicKey(pem).export({ type: "spki", format: "der" });
  return webcrypto.subtle.importKey("spki", der, KEY_ALGORITHM, true, ["verify"]);
}

/** The part of a file with certificate and key that is the key. */
export function privateKeyPem(pem: string): string {
  const start = pem.indexOf("-----BEGIN PRIVATE KEY-----");
  if (start < 0) throw new Error("no private key in the file");
  return pem.slice(start);
}
