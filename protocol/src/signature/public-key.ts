/** Keys that sign images. */
import { createPublicKey, type KeyObject } from "node:crypto";

import { ParseError } from "../coded-error.ts";

/** A key, and what people call it. */
export type SigningKey = { readonly name: string; readonly key: KeyObject };

export const KEY_LENGTH_MAX = 8192;
const RSA_BITS_MIN = 2048;
const RSA_BITS_MAX = 8192;

/** A public key in PEM, as `cosign generate-key-pair` writes it: ECDSA P-256, Ed25519, or RSA of 2048 bits and more.
 * @throws ParseError for everything else, and above all for a private key */
export function parsePublicKey(pem: string): KeyObject {
  if (pem.length > KEY_LENGTH_MAX) throw refuse("is too long");
  // OpenSSL would take a private key and derive the public one; it must not come here in the first place.
  if (/PRIVATE/.test(pem)) throw refuse("is a private key; keep it secret");
  if (!/^\s*-----BEGIN PUBLIC KEY-----[^-]+-----END PUBLIC KEY-----\s*$/.test(pem)) {
    throw refuse("is not PEM of one public key");
  }
  const key = read(pem);
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case "ed25519":
      return key;
    case "ec":
      if (namedCurve === "prime256v1") return key;
      throw refuse(`is of the curve ${String(namedCurve)}`);
    case "rsa":
      if (modulusLength >= RSA_BITS_MIN && modulusLength <= RSA_BITS_MAX) return key;
      throw refuse(`is RSA of ${modulusLength} bits`);
    default:
      throw refuse(`is of the type ${String(key.asymmetricKeyType)}`);
  }
}

function read(pem: string): KeyObject {
  try {
    return createPublicKey(pem);
  } catch (cause) {
    throw new ParseError("the key cannot be read", { cause });
  }
}

function refuse(why: string): ParseError {
  return new ParseError(`the key ${why}`, {
    hint: "give the public key as cosign writes it to cosign.pub: ECDSA P-256, Ed25519, or RSA of 2048 to 8192 bits",
  });
}
