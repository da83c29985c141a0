/** Which images nodes will probably run soon, so that they are there before they are needed: those of a new generation
 * on the nodes that run an older one, those of what sleeps on the nodes that have them and where the scheduler would put
 * it, and those of what may scale out. What a node is told of it does not throw away. Pure. */
import type { Digest } from "@strata/protocol/oci/digest";

import { type Candidate, type Need, schedule, type SchedulingOptions } from "./schedule.ts";

export type PrefetchImage = { readonly repository: string; readonly digest: Digest };

export type PrefetchSubject = {
  readonly subscription: string;
  readonly partition: string;
  /** Of the newest generation. */
  readonly image: PrefetchImage;
  readonly need: Need;
  /** Processes more than now that its policy allows. */
  readonly growth: number;
  /** It has no process until a request comes, which then waits for the start. */
  readonly isAsleep: boolean;
  /** Nodes that run the newest generation, and those that run an older one. */
  readonly currentOn: ReadonlySet<string>;
  readonly outdatedOn: ReadonlySet<string>;
};

/** Nodes of a partition that have an image, as far as is known. */
export type FindOwners = (partition: string, digest: Digest) => readonly string[];

/** As `Assignments` takes them. */
const IMAGES_PER_NODE_MAX = 32;
/** Processes that are looked ahead for, of one subscription. */
const GROWTH_MAX = 8;
/** Subscriptions for which the scheduler is asked: those that sleep, then the first ones by name. */
const GROWING_MAX = 100;

/** By node; nodes with nothing to fetch are left out. */
export function planPrefetch(
  subjects: readonly PrefetchSubject[],
  candidates: readonly Candidate[],
  { ownersOf, ...scheduling }: SchedulingOptions & { readonly ownersOf: FindOwners },
): ReadonlyMap<string, readonly PrefetchImage[]> {
  const open = candidates.filter(({ closed }) => closed === undefined);
  const isOpen = new Set(open.map(({ id }) => id));
  const wishes = new Map<string, Map<Digest, PrefetchImage>>();
  const wish = (nodeId: string, { image, currentOn }: PrefetchSubject): void => {
    const known = wishes.get(nodeId) ?? new Map<Digest, PrefetchImage>();
    if (currentOn.has(nodeId) || known.size >= IMAGES_PER_NODE_MAX) return;
    wishes.set(nodeId, known.set(image.digest, image));
  };
  // What is being replaced comes sooner than what may come.
  for (const subject of subjects) {
    for (const nodeId of subject.outdatedOn) if (isOpen.has(nodeId)) wish(nodeId, subject);
  }
  const asleep = subjects.filter(({ isAsleep }) => isAsleep);
  for (const subject of asleep) {
    for (const nodeId of ownersOf(subject.partition, subject.image.digest))
      if (isOpen.has(nodeId)) wish(nodeId, subject);
  }
  const growing = subjects
    .filter(({ growth }) => growth > 0)
    .toSorted(
      (left, right) =>
        Number(right.isAsleep) - Number(left.isAsleep) ||
        (left.subscription < right.subscription ? -1 : 1),
    );
  for (const subject of growing.slice(0, GROWING_MAX)) {
    for (const nodeId of placesOf(subject, open, scheduling)) wish(nodeId, subject);
  }
  return new Map([...wishes].map(([nodeId, images]) => [nodeId, [...images.values()]]));
}

/** Each for itself: what another one takes by then is not known. */
function placesOf(
  { subscription, partition, need, growth, isAsleep }: PrefetchSubject,
  candidates: readonly Candidate[],
  scheduling: SchedulingOptions,
): readonly string[] {
  const count = Math.min(growth, isAsleep ? 1 : GROWTH_MAX);
  const more = Array.from({ length: count }, (_, index) => ({
    id: `more-${index}`,
    partition,
    subscription,
    ...need,
  }));
  const { placed } = schedule(
    more,
    candidates.filter((candidate) => candidate.partition === partition),
    scheduling,
  );
  return [...new Set(placed.map(({ nodeId }) => nodeId))];
}
