/** Images in a store under test, pushed as a client would, and what the store then has. */
import { mediaTypes } from "@strata/protocol/oci/media-type";

import { anImage, anIndex, type BuiltImage, describeManifest } from "../../support/images.ts";
import { createClient, type PushedManifest } from "../../support/registry-client.ts";
import { type CliResult, runCli } from "./run-cli.ts";

type Place = { readonly repository: string; readonly reference: string };

/** Pushes the blobs, then the manifest by this tag or digest. */
export async function putImage(
  url: string,
  image: BuiltImage,
  { repository, reference }: Place,
): Promise<void> {
  const client = createClient(url);
  for (const blob of image.blobs) await client.pushBlob(repository, blob);
  await putManifest(url, image.manifest, { repository, reference });
}

export async function putManifest(
  url: string,
  manifest: PushedManifest,
  { repository, reference }: Place,
): Promise<void> {
  const answer = await createClient(url).putManifest(
    `/v2/${repository}/manifests/${reference}`,
    manifest,
  );
  if (answer.status !== 201)
    throw new Error(`manifest: ${answer.status} ${answer.body.toString()}`);
}

/** An artifact that refers to another manifest, as signatures and SBOMs do. */
export function aReferrer(subject: BuiltImage, artifactType: string): BuiltImage {
  const fields = { artifactType, subject: describeManifest(subject.manifest) };
  const config = Buffer.from("{}");
  return anImage({ config, configType: mediaTypes.empty, fields });
}

/** One image for two architectures: its index, and the images that it is made of. */
export function aMultiImage(): {
  readonly index: BuiltImage;
  readonly children: readonly BuiltImage[];
} {
  const children = [anImage(), anImage()];
  const platforms = ["amd64", "arm64"].map((architecture) => ({ os: "linux", architecture }));
  const manifests = children.map(({ manifest }, index) => ({
    ...describeManifest(manifest),
    platform: platforms[index],
  }));
  return { index: { manifest: anIndex(manifests), blobs: [] }, children };
}

/** Digest that a tag or digest names in the store, or undefined. */
export async function digestIn(
  url: string,
  repository: string,
  reference: string,
): Promise<string | undefined> {
  const path = `/v2/${repository}/manifests/${reference}`;
  const { status, headers } = await createClient(url).send("GET", path);
  return status === 200 ? headers["docker-content-digest"] : undefined;
}

/** A command line that talks to this store. */
export function runAt(url: string, ...args: readonly string[]): Promise<CliResult> {
  return runCli(args, { env: { STRATA_URL: url, STRATA_TOKEN: "t" } });
}
