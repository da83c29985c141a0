/** Level 1 at work: whose turn it is, what each of them is told, and one transaction with all that was decided. */
import { decide } from "../domain/autoscale/l1/decide.ts";
import type { L1Decision, Reading, ScalingPolicy } from "../domain/autoscale/l1/model.ts";
import type { UsageBook } from "../domain/autoscale/usage-book.ts";
import { type Decided, recordDecisions } from "../operations/autoscale.ts";
import { listSubscriptionsOn } from "../store/processes.ts";
import { type Candidate, listScalingCandidates, readSeasonal } from "../store/scalers.ts";
import type { Store } from "../store/unit.ts";
import { readScaled, type Scaled } from "./autoscale-history.ts";
import { createPolicyBook, type KnownPolicy } from "./autoscale-policies.ts";
import { createSeasonKeeper, type SeasonKeeper } from "./autoscale-season.ts";
import type { SampleBeats } from "./sample-beats.ts";

export type AutoscaleOptions = {
  readonly store: Store;
  readonly usage: UsageBook;
  /** The newest values of the policy's Prometheus metrics. */
  readonly external: (policy: ScalingPolicy) => readonly Reading[];
  /** Subscriptions for which a metric was posted since the last call. */
  readonly takePosted: () => ReadonlySet<string>;
  readonly beats: SampleBeats;
  readonly nowMs: () => number;
  /** A count has changed. */
  readonly onChange: () => void;
};

/** Decisions of one tick: the rest comes in the next, so that requests get their turn. */
const DECISIONS_MAX = 50;
/** Looks out of turn in one tick. Where there are more, each waits for its turn. */
const EARLY_MAX = 50;
/** A replay may begin at one decision in so many. */
const STATE_EVERY = 50;
/** Decisions to keep of all subscriptions together, and of each. */
const DECISIONS_KEPT = 300_000;
const DECISIONS_KEPT_EACH = 2000;
const DECISIONS_KEPT_MIN = 100;
/** Samples in the kept decisions of one subscription: with many processes fewer decisions are kept. */
const SAMPLES_KEPT = 200_000;
const TRIM_EVERY = 64;

/** What is known of a subscription since the start: only to say where replays may begin and when to trim. */
type Mark = {
  readonly policy: string;
  readonly pausedUntil: number | null;
  readonly count: number;
};

/** Makes the tick. True when there is more to do at once. */
export function createAutoscale(options: AutoscaleOptions): () => boolean {
  const { store, nowMs } = options;
  const book = createPolicyBook();
  const seasons = createSeasonKeeper();
  const marks = new Map<string, Mark>();
  return () => {
    const now = nowMs();
    const policies = book.read(store.sql);
    options.beats.refresh(store.sql, policies, now);
    const candidates = listScalingCandidates(store.sql).filter(({ policyName }) =>
      policies.has(policyName),
    );
    const { due, early, more } = chooseTurns(candidates, { policies, options, now });
    if (due.length + early.length === 0) return false;
    const names = new Map([...due, ...early].map(({ id, policyName }) => [id, policyName]));
    const known = new Map(
      [...names].flatMap(([id, name]) => {
        const policy = policies.get(name);
        return policy === undefined ? [] : [[id, policy] as const];
      }),
    );
    const inTurn = new Set(due.map(({ id }) => id));
    const decided = readScaled(store.sql, known, options).flatMap((scaled) => {
      const one = decideOne(scaled, { seasons, store, now });
      const keep = inTurn.has(scaled.subscription.id) || one.season !== undefined || moves(one);
      return keep ? [{ ...one, ...marked(marks, one, candidates.length) }] : [];
    });
    if (decided.length === 0) return more;
    // Reads, decisions and writes happen without an await between them: nothing can change under a decision.
    const changed = store.write((unit) => recordDecisions(unit, decided));
    for (const { subscription, decision } of decided) {
      seasons.observe(subscription.id, decision.trace);
    }
    forgetOthers(candidates, { seasons, marks });
    if (changed || decided.some(({ history }) => history.draining > 0)) options.onChange();
    return more;
  };
}

type Turns = {
  readonly due: readonly Candidate[];
  /** They have new samples, but it is not their turn: what they decide counts only if it changes the count. */
  readonly early: readonly Candidate[];
  readonly more: boolean;
};

function chooseTurns(
  candidates: readonly Candidate[],
  {
    policies,
    options,
    now,
  }: {
    readonly policies: ReadonlyMap<string, KnownPolicy>;
    readonly options: AutoscaleOptions;
    readonly now: number;
  },
): Turns {
  const nodes = [...options.usage.takeFresh()];
  const fresh = new Set([
    ...options.takePosted(),
    ...(nodes.length * candidates.length === 0
      ? []
      : listSubscriptionsOn(options.store.sql, nodes)),
  ]);
  const due: { readonly candidate: Candidate; readonly late: number }[] = [];
  const early: Candidate[] = [];
  for (const candidate of candidates) {
    const { decidedAt, policyName } = candidate;
    const interval = policies.get(policyName)?.policy.sampleInterval ?? 0;
    const elapsed = decidedAt === null ? Infinity : now - Date.parse(decidedAt);
    // A clock that was set back must not stop decisions for as long.
    if (elapsed >= interval || elapsed < 0) due.push({ candidate, late: elapsed - interval });
    else if (elapsed > 0 && fresh.has(candidate.id)) early.push(candidate);
  }
  const latestFirst = due.toSorted((a, b) => b.late - a.late).map(({ candidate }) => candidate);
  return {
    due: latestFirst.slice(0, DECISIONS_MAX),
    early: early.length > EARLY_MAX ? [] : early,
    more: due.length > DECISIONS_MAX,
  };
}

type Undecorated = Omit<Decided, "withState" | "keep">;

function decideOne(
  { subscription, known, scaler, history: seen }: Scaled,
  {
    seasons,
    store,
    now,
  }: { readonly seasons: SeasonKeeper; readonly store: Store; readonly now: number },
): Undecorated {
  const { policy } = known;
  const startMs = seen.startP90Ms ?? policy.forecast.horizon;
  const { usual, ended } = seasons.turn(subscription.id, {
    policy,
    now,
    at: now + startMs,
    read: () => readSeasonal(store.sql, subscription.id),
  });
  const history = { ...seen, seasonal: usual };
  const decision: L1Decision = decide({ policy, history, state: scaler.state, now });
  return { subscription, policy: known, history, before: scaler.state, decision, season: ended };
}

function moves({ decision, subscription }: Undecorated): boolean {
  return decision.desired !== subscription.processes;
}

/** A replay goes from one decision to the next by the state that the first one left; where something else changed the
 * state or the policy, the state before is written down. */
function marked(
  marks: Map<string, Mark>,
  { subscription, policy, before, history }: Undecorated,
  subscriptions: number,
): Pick<Decided, "withState" | "keep"> {
  const { id } = subscription;
  const known = marks.get(id);
  const key = `${policy.name}/${policy.revision}`;
  const count = (known?.count ?? 0) + 1;
  marks.set(id, { policy: key, pausedUntil: before.pausedUntil, count });
  return {
    withState:
      known === undefined ||
      known.policy !== key ||
      known.pausedUntil !== before.pausedUntil ||
      known.count % STATE_EVERY === 0,
    keep:
      count % TRIM_EVERY === 0 ? decisionsKept(subscriptions, history.processes.length) : undefined,
  };
}

/** How many decisions of one subscription are kept: with many subscriptions or processes fewer. */
function decisionsKept(subscriptions: number, samples: number): number {
  const shared = Math.floor(DECISIONS_KEPT / Math.max(1, subscriptions));
  const bySamples = Math.floor(SAMPLES_KEPT / Math.max(1, samples));
  return Math.max(DECISIONS_KEPT_MIN, Math.min(DECISIONS_KEPT_EACH, shared, bySamples));
}

function forgetOthers(
  candidates: readonly Candidate[],
  { seasons, marks }: { readonly seasons: SeasonKeeper; readonly marks: Map<string, Mark> },
): void {
  if (marks.size <= 2 * candidates.length + DECISIONS_MAX) return;
  const ids = new Set(candidates.map(({ id }) => id));
  seasons.keepOnly(ids);
  for (const id of marks.keys()) if (!ids.has(id)) marks.delete(id);
}
