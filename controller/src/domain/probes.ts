/** Which probes a process has, from what its subscription and its cartridge say. */
import type { ProcessSpec } from "@strata/protocol/agent/messages";
import type { NoProbe, Probe } from "@strata/protocol/agent/probes";

/** A probe, or the word that there is none. */
export type ProbeWish = Readonly<Probe> | Readonly<NoProbe>;

/** Null, or left out, leaves a probe to the cartridge, and in a cartridge to the image. */
export type ProbeWishes = {
  /** Readiness. */
  readonly health: ProbeWish | null;
  readonly startup?: ProbeWish;
  readonly liveness?: ProbeWish;
};

/** The subscription wins over its cartridge probe by probe. What is still open the agent takes from the image. Pure. */
export function resolveProbes(
  own: ProbeWishes,
  base: ProbeWishes,
): Pick<ProcessSpec, "health" | "probes"> {
  const health = own.health ?? base.health ?? undefined;
  const startup = own.startup ?? base.startup;
  const liveness = own.liveness ?? base.liveness;
  const isOld = health?.kind === "http" || health?.kind === "tcp";
  const more = {
    ...(startup === undefined ? {} : { startup }),
    ...(health === undefined || isOld ? {} : { readiness: health }),
    // No image has one, so nothing has to be kept from the agent.
    ...(liveness === undefined || liveness.kind === "none" ? {} : { liveness }),
  };
  return {
    ...(isOld ? { health } : {}),
    ...(Object.keys(more).length === 0 ? {} : { probes: more }),
  };
}
