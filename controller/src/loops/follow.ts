/** Takes subscriptions that follow their repository to the image that it has for them. */
import { parseReference } from "@strata/protocol/oci/reference";
import type { Registry } from "@strata/registry/create-registry";
import type { Logger } from "pino";

import { candidateImages, failedDigests } from "../domain/follow.ts";
import { ControllerError } from "../errors.ts";
import {
  inspectSignedImage,
  type SignedImageSource,
  type SignedRunnableImage,
} from "../images/signed-image.ts";
import { followImage, refuseImage } from "../operations/follow.ts";
import { imageDigest } from "../operations/subscription-spec.ts";
import { type CartridgeRow, getCartridge } from "../store/cartridges.ts";
import { listTrials } from "../store/rollouts.ts";
import { listFollowers, type SubscriptionRow } from "../store/subscriptions.ts";
import type { Store } from "../store/unit.ts";

export type FollowedImages = SignedImageSource & Pick<Registry, "listNewestTags">;
export type FollowOptions = {
  readonly store: Store;
  readonly images: FollowedImages;
  readonly logger: Logger;
  /** Some processes are to be replaced. */
  readonly onChange: () => void;
};

/** Of a repository, those that were moved last. */
const TAGS_LOOKED_AT = 100;
/** Refusals are told once; of so many at most it is known that they were. */
const REFUSALS_REMEMBERED = 10_000;

/** One tick: every follower is looked at, and what one of them meets keeps no other back. */
export function createFollow(options: FollowOptions): () => Promise<void> {
  const refusals = new Set<string>();
  return async () => {
    for (const subscription of listFollowers(options.store.sql)) {
      try {
        await follow(options, subscription, refusals);
      } catch (err) {
        options.logger.warn({ err, subscription: subscription.alias }, "an image was not followed");
      }
    }
  };
}

async function follow(
  options: FollowOptions,
  subscription: SubscriptionRow,
  refusals: Set<string>,
): Promise<void> {
  const cartridge = getCartridge(options.store.sql, subscription.cartridge);
  if (cartridge === undefined) return;
  for (const { digest, why } of await findWanted(options, subscription, cartridge)) {
    if (digest === imageDigest(subscription, cartridge)) return;
    const key = `${subscription.id} ${digest}`;
    if (refusals.has(key)) continue;
    const refusal = await tryImage(options, { subscription, cartridge, digest, why });
    if (refusal === undefined) return;
    if (refusals.size >= REFUSALS_REMEMBERED) refusals.clear();
    refusals.add(key);
    const reason = refusal.message;
    options.store.write((unit) => refuseImage(unit, { subscription, digest, reason }));
  }
}

type Wanted = { readonly digest: string; readonly why: string };

/** Best first; without any it stays with what it runs. */
async function findWanted(
  { store, images }: FollowOptions,
  subscription: SubscriptionRow,
  { image, repository }: CartridgeRow,
): Promise<readonly Wanted[]> {
  if (subscription.follow === "newest") {
    const tags = await images.listNewestTags(repository, TAGS_LOOKED_AT);
    const names = new Map<string, string>(tags.map(({ name, digest }) => [digest, name]));
    const failed = failedDigests(listTrials(store.sql, subscription.id));
    return candidateImages([...names.keys()], failed).map((digest) => ({
      digest,
      why: `the newest image, ${names.get(digest) ?? digest}`,
    }));
  }
  const reference = parseReference(image);
  if (!("tag" in reference)) return [];
  const found = await images.resolve(repository, reference.tag);
  return found === undefined
    ? []
    : [{ digest: found.digest, why: `tag ${reference.tag}, which was moved` }];
}

type Attempt = Wanted & {
  readonly subscription: SubscriptionRow;
  readonly cartridge: CartridgeRow;
};

/** @returns Why it must not be run; a fault of ours is thrown. */
async function tryImage(
  { store, images, onChange }: FollowOptions,
  { subscription, cartridge, digest, why }: Attempt,
): Promise<ControllerError | undefined> {
  try {
    const image: SignedRunnableImage = await inspectSignedImage(
      images,
      `${cartridge.repository}@${digest}`,
    );
    if (store.write((unit) => followImage(unit, { subscription, image, why }))) onChange();
    return undefined;
  } catch (error) {
    if (error instanceof ControllerError) return error;
    throw error;
  }
}
