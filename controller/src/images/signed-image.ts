import { parseDigest } from "@strata/protocol/oci/digest";
import type { Signature } from "@strata/protocol/signature/read-signatures";
import {
  readImageSignatures,
  type SignatureSource,
} from "@strata/registry/signature/read-image-signatures";

import { type ImageSource, inspectImage, type RunnableImage } from "./inspect-image.ts";

export type SignedImageSource = ImageSource & SignatureSource;
/** What a cartridge names, and all that look like signatures of it. */
export type SignedRunnableImage = RunnableImage & { readonly signatures: readonly Signature[] };

/** @throws ControllerError IMAGE_NOT_FOUND or IMAGE_NOT_RUNNABLE */
export async function inspectSignedImage(
  source: SignedImageSource,
  text: string,
): Promise<SignedRunnableImage> {
  const image = await inspectImage(source, text);
  const { repository } = image;
  const digest = parseDigest(image.digest);
  return { ...image, signatures: await readImageSignatures(source, { repository, digest }) };
}
