/** How a load meets the processes of a subscription: a fluid that is served, waits, or is given up. */
import type { SimSubscription, Simulation } from "./world.ts";

/** From one measurement to the next. */
export const METER_INTERVAL_MS = 1000;

/** Serves what arrived in the last interval. */
export function serve(sim: Simulation, subscription: SimSubscription): void {
  const { spec, ready } = subscription;
  const seconds = METER_INTERVAL_MS / 1000;
  const arrived = arrivals(sim, subscription) * seconds;
  subscription.arrived.amount += arrived;
  subscription.arrived.seconds += seconds;
  const servable = ready * spec.capacity * seconds;
  const work = subscription.backlog + arrived;
  const served = Math.min(work, servable);
  subscription.backlog = patient(work - served, { arrived, servable, spec });
  const violated = violations(subscription.backlog, {
    arrived,
    servable,
    lost: work - served - subscription.backlog,
    spec,
  });
  const now = sim.queue.now();
  sim.meter.count("offered", arrived, now);
  sim.meter.count("served", served, now);
  sim.meter.count("servable", servable, now);
  sim.meter.count("violated", violated, now);
  if (violated > 0) sim.meter.count("violationSeconds", seconds, now);
}

/** The curve, with chance from one second to the next. The sum of three is close enough to a bell: its standard
 * deviation is one half. */
function arrivals(
  { queue, startedAt, random }: Simulation,
  { spec, loadAt }: SimSubscription,
): number {
  const bell = 2 * (random() + random() + random() - 1.5);
  return Math.max(0, loadAt(queue.now() - startedAt) * (1 + spec.burstiness * bell));
}

type Moment = {
  readonly arrived: number;
  readonly servable: number;
  readonly spec: SimSubscription["spec"];
};

/** Of what waits, what has not given up. */
function patient(waiting: number, { arrived, servable, spec }: Moment): number {
  if (spec.giveUpAfter === 0) return waiting;
  const perMs = Math.max(servable, arrived) / METER_INTERVAL_MS;
  return Math.min(waiting, perMs * spec.giveUpAfter);
}

function violations(
  backlog: number,
  { arrived, servable, lost, spec }: Moment & { readonly lost: number },
): number {
  const waitMs = backlog === 0 ? 0 : (METER_INTERVAL_MS * backlog) / servable;
  return Math.min(arrived, waitMs > spec.waitMax ? arrived : lost);
}

/** What the ingress and the agents report: averages since level 1 last looked. */
export function takeSignals(subscription: SimSubscription): Signals {
  const { spec, ready, backlog, arrived } = subscription;
  const load = arrived.seconds === 0 ? 0 : arrived.amount / arrived.seconds;
  subscription.arrived = { amount: 0, seconds: 0 };
  const capacity = ready * spec.capacity;
  const busy = Math.min(load + backlog, capacity);
  return {
    requests: load,
    inFlight: (busy * spec.serviceTime) / 1000 + backlog,
    backlog,
    cpuPercent: capacity === 0 ? 0 : (100 * busy) / capacity,
  };
}

export type Signals = {
  readonly requests: number;
  readonly inFlight: number;
  readonly backlog: number;
  readonly cpuPercent: number;
};
