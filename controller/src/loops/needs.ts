/** What processes need of a node: from what they run, the image that it is, and where their subscription wants them. */
import type { ProcessSpec } from "@strata/protocol/agent/messages";
import type { Placement } from "@strata/protocol/api/placement";

import type { PlacementRule } from "../domain/autoscale/l2/model.ts";
import type { ImageVariant } from "../domain/image-variant.ts";
import type { Need } from "../domain/schedule.ts";
import { keepReading } from "../store/kept-tables.ts";
import { listImageVariants } from "../store/signatures.ts";
import { listSubscriptions } from "../store/subscriptions.ts";

export type Needs = {
  /** Of one process of the generation. */
  readonly of: (generation: {
    readonly subscriptionId: string;
    readonly spec: ProcessSpec;
  }) => Need;
  /** None for an image that was never looked at. */
  readonly variantsOf: (digest: string) => readonly ImageVariant[];
};

/** The same object for the same specification, as long as no subscription and nothing known of images changes. */
export const readNeeds = keepReading(["subscriptions", "image_signatures"], (sql): Needs => {
  const placements = new Map(listSubscriptions(sql).map(({ id, placement }) => [id, placement]));
  // A digest names the same image in every repository.
  const images = new Map(listImageVariants(sql).map(({ digest, variants }) => [digest, variants]));
  const known = new WeakMap<ProcessSpec, Need>();
  const toNeed: Needs["of"] = ({ subscriptionId, spec: { limits, ports, image } }) => {
    const hostPorts = ports.flatMap(({ hostPort, protocol }) =>
      hostPort === undefined ? [] : [`${protocol}/${hostPort}`],
    );
    const rule = toRule(placements.get(subscriptionId) ?? null, images.get(image.digest) ?? []);
    const own = rule === undefined ? {} : { rule };
    return { limits, hostPorts, ...own, image: image.digest };
  };
  return {
    of: (generation) => {
      const need = known.get(generation.spec) ?? toNeed(generation);
      known.set(generation.spec, need);
      return need;
    },
    variantsOf: (digest) => images.get(digest) ?? [],
  };
});

function toRule(
  placement: Placement | null,
  variants: readonly ImageVariant[],
): PlacementRule | undefined {
  const made = variants.map(({ architecture }) => architecture);
  const wanted = placement?.architecture;
  const architectures = wanted === undefined ? made : [wanted];
  const { labels = {}, zones, maxPerNode, apart } = placement ?? {};
  const rule: PlacementRule = {
    ...(architectures.length === 0 ? {} : { architectures }),
    ...(Object.keys(labels).length === 0 ? {} : { labels }),
    ...(zones === undefined ? {} : { zones }),
    ...(maxPerNode === undefined ? {} : { maxPerNode }),
    ...(apart === undefined ? {} : { apart }),
  };
  return Object.keys(rule).length === 0 ? undefined : rule;
}
