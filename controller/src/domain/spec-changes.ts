/** What differs between two generations of a subscription, in the words in which people write it. Pure. */
import type { ProcessSpec } from "@strata/protocol/agent/messages";

import { isSame } from "./canonical.ts";

const shownNames: ReadonlyMap<string, string> = new Map([
  ["limits", "resources"],
  ["stopGraceMs", "stopGrace"],
]);

/** Names of fields alone: values may be passwords. */
export function changedFields(
  before: ProcessSpec | undefined,
  after: ProcessSpec,
): readonly string[] {
  if (before === undefined) return [];
  const old = new Map<string, unknown>(Object.entries(before));
  const now = new Map<string, unknown>(Object.entries(after));
  return [...new Set([...old.keys(), ...now.keys()])]
    .filter((name) => !isSame(old.get(name) ?? null, now.get(name) ?? null))
    .map((name) => shownNames.get(name) ?? name)
    .toSorted();
}
