import { isUnreachable } from "./errors.ts";
import type { MirrorRule } from "./rules.ts";

/** Which upstreams did not answer lately. They are left alone for a while where there is something to serve instead,
 * so that a dead upstream costs one client a few seconds, and not each. */
export type UpstreamHealth = {
  readonly isDown: (rule: MirrorRule) => boolean;
  /** Takes note when the error says that the upstream does not answer. */
  readonly note: (rule: MirrorRule, error: unknown) => void;
};

const DOWN_MS = 15_000;

export function createUpstreamHealth(clock: () => number): UpstreamHealth {
  const downUntil = new Map<string, number>();
  return {
    isDown: ({ upstream }) => (downUntil.get(upstream) ?? -Infinity) > clock(),
    note: ({ upstream }, error) => {
      if (isUnreachable(error)) downUntil.set(upstream, clock() + DOWN_MS);
    },
  };
}
