/** Signatures as cosign makes them, by keys of our own. */
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";

import { mediaTypes } from "@strata/protocol/oci/media-type";

import {
  buildManifest,
  type BuiltImage,
  type BuiltManifest,
  describe,
  describeManifest,
} from "./images.ts";

export type Signer = { readonly privateKey: KeyObject; readonly pem: string };

type KeyKind = "p256" | "ed25519" | "rsa";

export function aSigner(kind: KeyKind = "p256"): Signer {
  const { publicKey, privateKey } = generate(kind);
  return { privateKey, pem: publicKey.export({ type: "spki", format: "pem" }) };
}

function generate(kind: KeyKind): {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
} {
  if (kind === "ed25519") return generateKeyPairSync("ed25519");
  if (kind === "rsa") return generateKeyPairSync("rsa", { modulusLength: 2048 });
  return generateKeyPairSync("ec", { namedCurve: "prime256v1" });
}

function signBytes({ privateKey }: Signer, bytes: Buffer): string {
  const algorithm = privateKey.asymmetricKeyType === "ed25519" ? null : "sha256";
  return sign(algorithm, bytes, privateKey).toString("base64");
}

/** What `cosign sign --key` signs. */
export function aPayload(digest: string, change: object = {}): Buffer {
  const image = { "docker-manifest-digest": digest };
  const identity = { "docker-reference": "registry.example/app" };
  const type = "cosign container image signature";
  const critical = { identity, image, type, ...change };
  return Buffer.from(JSON.stringify({ critical, optional: null }));
}

type Signing = {
  readonly signer: Signer;
  /** [the payload for the image] */
  readonly payload?: Buffer;
  /** What is stored in place of the payload that was signed. */
  readonly stored?: Buffer;
  /** Refers to the image by its subject, and not by a tag alone. */
  readonly isReferrer?: boolean;
};

/** The manifest of the tag `sha256-….sig`, or of a referrer of cosign's own type. */
export function aSignature(image: BuiltManifest, signing: Signing): BuiltImage {
  const { signer, payload = aPayload(image.digest), stored = payload, isReferrer } = signing;
  const config = Buffer.from(
    JSON.stringify({ architecture: "", os: "", rootfs: { type: "layers", diff_ids: [] } }),
  );
  const type = "application/vnd.dev.cosign.artifact.sig.v1+json";
  const layer = {
    ...describe(stored, "application/vnd.dev.cosign.simplesigning.v1+json"),
    annotations: { "dev.cosignproject.cosign/signature": signBytes(signer, payload) },
  };
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: describe(config, isReferrer === true ? type : mediaTypes.config),
    layers: [layer],
    ...(isReferrer === true ? { artifactType: type, subject: describeManifest(image) } : {}),
  };
  return { manifest: buildManifest(manifest, mediaTypes.manifest), blobs: [config, stored] };
}

/** What `cosign sign` of version 3 writes: a referrer with a Sigstore bundle. */
export function aBundledSignature(
  image: BuiltManifest,
  {
    signer,
    predicateType = "https://sigstore.dev/cosign/sign/v1",
    digest = image.digest,
  }: { readonly signer: Signer; readonly predicateType?: string; readonly digest?: string },
): BuiltImage {
  const [algorithm = "", hex = ""] = digest.split(":");
  const statement = Buffer.from(
    JSON.stringify({
      _type: "https://in-toto.io/Statement/v1",
      subject: [{ digest: { [algorithm]: hex } }],
      predicateType,
      predicate: {},
    }),
  );
  const payloadType = "application/vnd.in-toto+json";
  const head = `DSSEv1 ${payloadType.length} ${payloadType} ${statement.length} `;
  const sig = signBytes(signer, Buffer.concat([Buffer.from(head), statement]));
  const type = "application/vnd.dev.sigstore.bundle.v0.3+json";
  const bundle = Buffer.from(
    JSON.stringify({
      mediaType: type,
      verificationMaterial: { publicKey: { hint: "k" } },
      dsseEnvelope: { payload: statement.toString("base64"), payloadType, signatures: [{ sig }] },
    }),
  );
  const config = Buffer.from("{}");
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    artifactType: type,
    config: describe(config, mediaTypes.empty),
    layers: [describe(bundle, type)],
    subject: describeManifest(image),
  };
  return { manifest: buildManifest(manifest, mediaTypes.manifest), blobs: [config, bundle] };
}

/** cosign's tag for the signatures of an image. */
export function signatureTagOf({ digest }: BuiltManifest): string {
  return `${digest.replace(":", "-")}.sig`;
}
