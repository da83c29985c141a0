import type { SignedRunnableImage } from "../images/signed-image.ts";
import { getCartridge } from "../store/cartridges.ts";
import { saveImageSignatures } from "../store/signatures.ts";
import { getSubscription, saveSubscription, type SubscriptionRow } from "../store/subscriptions.ts";
import type { Unit } from "../store/unit.ts";
import { emitUnsigned, requireSigned } from "./signature-policies.ts";
import { imageDigest, rollOut } from "./subscription-spec.ts";

export type Follow = {
  readonly subscription: Pick<SubscriptionRow, "tenant" | "alias" | "follow">;
  readonly image: SignedRunnableImage;
  /** For people: `tag v2 was moved`. */
  readonly why: string;
};

/** Takes the subscription to another image of its cartridge's repository, unless what it wishes for changed since the
 * image was looked for.
 * @returns Whether it goes to that image
 * @throws ControllerError IMAGE_UNSIGNED, LIMITS_UNSATISFIABLE, REFERENCE_UNKNOWN */
export function followImage(unit: Unit, { subscription, image, why }: Follow): boolean {
  const row = getSubscription(unit.sql, subscription);
  const cartridge = row === undefined ? undefined : getCartridge(unit.sql, row.cartridge);
  if (row === undefined || cartridge === undefined || row.deletedAt !== null) return false;
  if (row.follow !== subscription.follow || cartridge.repository !== image.repository) return false;
  const { digest } = image;
  if (imageDigest(row, cartridge) === digest) return false;
  const objection = requireSigned(unit, image);
  saveImageSignatures(unit.sql, image);
  if (objection !== undefined) emitUnsigned(unit, cartridge.name, objection);
  const next = { ...row, followedDigest: digest };
  saveSubscription(unit.sql, next);
  rollOut(unit, { subscription: next, cartridge, why });
  return true;
}

/** Says that it stays with what it runs. */
export function refuseImage(
  unit: Unit,
  {
    subscription,
    digest,
    reason,
  }: {
    readonly subscription: Follow["subscription"];
    readonly digest: string;
    readonly reason: string;
  },
): void {
  const { tenant, alias } = subscription;
  unit.emit({
    type: "subscription.image-refused",
    tenant,
    subject: alias,
    message: `subscription ${alias} does not follow to image ${digest}: ${reason}`,
    data: { digest },
  });
}
