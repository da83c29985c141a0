/** What processes need of a node: from what they run, the image that it is, and where their subscription wants them. */
import type { ProcessSpec } from "@strata/protocol/agent/messages";
import type { Placement } from "@strata/protocol/api/placement";

import type { PlacementRule } from "../domain/autoscale/l2/model.ts";
import type { ImageVariant } from "../domain/image-variant.ts";
import type { Need } from "../domain/schedule.ts";
import type { Sql } from "../store/database.ts";
import { listImageVariants } from "../store/signatures.ts";
import type { SubscriptionRow } from "../store/subscriptions.ts";

export type Needs = {
  /** Of one process of the generation. */
  readonly of: (generation: {
    readonly subscriptionId: string;
    readonly spec: ProcessSpec;
  }) => Need;
  /** None for an image that was never looked at. */
  readonly variantsOf: (digest: string) => readonly ImageVariant[];
};

export function readNeeds(sql: Sql, subscriptions: readonly SubscriptionRow[]): Needs {
  const placements = new Map(subscriptions.map(({ id, placement }) => [id, placement]));
  // A digest names the same image in every repository.
  const images = new Map(listImageVariants(sql).map(({ digest, variants }) => [digest, variants]));
  return {
    of: ({ subscriptionId, spec: { limits, ports, image } }) => {
      const hostPorts = ports.flatMap(({ hostPort, protocol }) =>
        hostPort === undefined ? [] : [`${protocol}/${hostPort}`],
      );
      const rule = toRule(placements.get(subscriptionId) ?? null, images.get(image.digest) ?? []);
      const own = rule === undefined ? {} : { rule };
      return { limits, hostPorts, ...own, image: image.digest };
    },
    variantsOf: (digest) => images.get(digest) ?? [],
  };
}

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
