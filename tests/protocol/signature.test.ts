import { generateKeyPairSync, type KeyObject } from "node:crypto";

import { parseDigest } from "@strata/protocol/oci/digest";
import { parsePublicKey, type SigningKey } from "@strata/protocol/signature/public-key";
import {
  findSignatureBlobs,
  readSignatures,
  type Signature,
} from "@strata/protocol/signature/read-signatures";
import { type Verdict, verifySignatures } from "@strata/protocol/signature/verify-signatures";

import { anImage, type BuiltImage } from "../support/images.ts";
import { digestOf } from "../support/registry-client.ts";
import {
  aBundledSignature,
  aPayload,
  aSignature,
  aSigner,
  type Signer,
} from "../support/signatures.ts";
import { assert, suite, throwsWithCode } from "../support/suite.ts";

const { manifest: image } = anImage();
const { manifest: other } = anImage();
const digest = parseDigest(image.digest);

function keyOf({ pem }: Signer, name = "release"): SigningKey {
  return { name, key: parsePublicKey(pem) };
}

/** All signatures of an image in a store, read as a reader of the store would. */
function read({ manifest, blobs }: BuiltImage): readonly Signature[] {
  return findSignatureBlobs(manifest.bytes).flatMap((blob) => {
    const bytes = blobs.find((one) => digestOf(one) === blob.digest);
    return bytes === undefined ? [] : readSignatures(blob, bytes);
  });
}

function verdict(signed: readonly BuiltImage[], ...signers: readonly Signer[]): Verdict {
  const keys = signers.map((signer) => keyOf(signer));
  return verifySignatures({ digest, signatures: signed.flatMap(read), keys });
}

const signer = aSigner();

suite("verifySignatures", (test) => {
  for (const kind of ["p256", "ed25519", "rsa"] as const) {
    test(`knows a signature by a key of type ${kind}, in all forms`, () => {
      const own = aSigner(kind);
      const yes = { isSigned: true, key: "release" } as const;
      assert.equal(verdict([aSignature(image, { signer: own })], own), yes);
      assert.equal(verdict([aSignature(image, { signer: own, isReferrer: true })], own), yes);
      assert.equal(verdict([aBundledSignature(image, { signer: own })], own), yes);
    });
  }

  test("says that there is none", () => {
    assert.equal(verdict([], signer), { isSigned: false, reason: "it has no signature" });
    assert.equal(verdict([anImage()], signer), { isSigned: false, reason: "it has no signature" });
  });

  test("does not take another key's signature", () => {
    const stranger = aSigner();
    for (const signed of [
      aSignature(image, { signer: stranger }),
      aBundledSignature(image, { signer: stranger }),
    ]) {
      const reason = "none of its 1 signatures is by a key that counts";
      assert.equal(verdict([signed], signer), { isSigned: false, reason });
    }
    assert.equal(verdict([aSignature(image, { signer })]).isSigned, false);
  });

  test("finds the good one among others, and any of several keys", () => {
    const stranger = aSigner("rsa");
    const all = [aSignature(image, { signer: stranger }), aBundledSignature(image, { signer })];
    assert.ok(verdict(all, aSigner("ed25519"), signer).isSigned);
  });

  test("does not take a payload that was changed after it was signed", () => {
    const stored = aPayload(image.digest, { identity: {} });
    assert.not(verdict([aSignature(image, { signer, stored })], signer).isSigned);
  });

  test("does not take a signature for another image, or for something else than an image", () => {
    const reason = "its signature by release is for something else";
    const payloads = [
      aPayload(other.digest),
      aPayload(image.digest, { type: "atomic container signature" }),
      Buffer.from("{}"),
      Buffer.from(aPayload(other.digest).toString().replace("{", `{"critical":{},`)),
    ];
    for (const payload of payloads) {
      const signed = aSignature(image, { signer, payload });
      assert.equal(verdict([signed], signer), { isSigned: false, reason });
    }
    const moved = aBundledSignature(image, { signer, digest: other.digest });
    assert.equal(verdict([moved], signer), { isSigned: false, reason });
  });

  test("does not take what a key says of an image for its release", () => {
    const predicateType = "https://slsa.dev/provenance/v1";
    assert.not(verdict([aBundledSignature(image, { signer, predicateType })], signer).isSigned);
  });

  test("does not take a payload's signature for an envelope's, or the other way round", () => {
    const [payload] = read(aSignature(image, { signer }));
    const [statement] = read(aBundledSignature(image, { signer }));
    const keys = [keyOf(signer)];
    for (const signature of [payload, statement]) {
      if (signature === undefined) throw new Error("no signature");
      const form = signature.form === "payload" ? "statement" : "payload";
      assert.not(verifySignatures({ digest, signatures: [{ ...signature, form }], keys }).isSigned);
    }
  });

  test("survives rubbish in every place", () => {
    const rubbish: readonly Signature[] = ["", "!", "AAAA", "A".repeat(4000)].flatMap((text) => [
      { form: "payload", payload: text, signature: text },
      { form: "statement", payload: text, signature: text },
    ]);
    for (const kind of ["p256", "ed25519", "rsa"] as const) {
      const keys = [keyOf(aSigner(kind))];
      assert.not(verifySignatures({ digest, signatures: rubbish, keys }).isSigned);
    }
    assert.equal(findSignatureBlobs(Buffer.from("{")), []);
    assert.equal(readSignatures({ signature: undefined }, Buffer.from("[1]")), []);
  });
});

suite("parsePublicKey", (test) => {
  test("refuses what is no public key that signs images", () => {
    const pemOf = ({ publicKey }: { readonly publicKey: KeyObject }): string =>
      publicKey.export({ type: "spki", format: "pem" });
    const { privateKey } = signer;
    const secret = privateKey.export({ type: "pkcs8", format: "pem" });
    const error = throwsWithCode(() => parsePublicKey(secret), "INVALID");
    assert.match(error.message, "is a private key");
    assert.not.match(error.message, secret.slice(30, 60));
    const refused = [
      "",
      "x".repeat(10_000),
      signer.pem + signer.pem,
      "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
      pemOf(generateKeyPairSync("rsa", { modulusLength: 1024 })),
      pemOf(generateKeyPairSync("ec", { namedCurve: "secp384r1" })),
      pemOf(generateKeyPairSync("x25519")),
    ];
    for (const pem of refused) throwsWithCode(() => parsePublicKey(pem), "INVALID");
  });
});
