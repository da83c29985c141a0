import { readFileSync } from "node:fs";

import { type ProcessRecord } from "@strata/agent/container/record";
import { sendSignal } from "@strata/agent/host/process-table";
import { getSignalNumber } from "@strata/agent/host/signals";
import { type AgentPaths, processPaths } from "@strata/agent/paths";

import type { Chance } from "./chance.ts";
import { listImages, readRecord } from "./observe.ts";
import {
  endings,
  markOf,
  newSlot,
  type Slot,
  wishGone,
  wishRunning,
  wishStopped,
} from "./wishes.ts";

export type WisherOptions = {
  readonly key: string;
  readonly paths: AgentPaths;
  readonly chance: Chance;
  /** Of the images that the registry has. */
  readonly digests: readonly string[];
};

const SLOTS = 5;

/** Chooses what is wanted of an agent, and by whom it is disturbed. */
export class Wisher {
  readonly slots: readonly Slot[];
  readonly #options: WisherOptions;

  constructor(options: WisherOptions) {
    this.#options = options;
    this.slots = Array.from({ length: SLOTS }, (_, index) => newSlot(`p${index}`));
  }

  /** One more process, or another one in its place: of an image that has to be pulled, or of one that is there. */
  wantMore({ isPulled }: { readonly isPulled: boolean }): void {
    const { key, chance, digests } = this.#options;
    const present = this.#presentImages();
    const fitting = digests.filter((digest) => present.includes(digest) === isPulled);
    const digest = chance.pick(fitting) ?? chance.pick(digests);
    const slot = chance.pick(this.#free());
    if (slot === undefined || digest === undefined) return;
    const temper = chance.happens(0.3) ? "stubborn" : "obedient";
    wishRunning(slot, { key, digest, temper, isServer: chance.happens(0.5) });
  }

  /** One process less, stopped or forgotten, or another one in its place. */
  wantLess(): void {
    const { chance } = this.#options;
    const running = this.#free().filter(({ pid }) => pid !== undefined);
    const slot = chance.pick(running) ?? chance.pick(this.#free());
    if (slot === undefined) return;
    if (chance.happens(0.2)) this.wantMore({ isPulled: true });
    else if (chance.happens(0.5)) wishGone(slot);
    else wishStopped(slot, { isReady: this.#isReady(slot) });
  }

  /** Ends an application in a way that the agent must tell later. Gives its pid, or undefined when none is fit. */
  endOne(): number | undefined {
    const { chance } = this.#options;
    const slot = chance.pick(this.#free().filter((candidate) => this.#isReady(candidate)));
    const ending = chance.pick(endings);
    const { pid } = slot ?? {};
    if (slot === undefined || ending === undefined || pid === undefined) return undefined;
    slot.isEnded = true;
    slot.exit = ending.exit;
    slot.pid = undefined;
    sendSignal(pid, getSignalNumber(ending.signal) ?? 9);
    return pid;
  }

  /** Slots whose end the agent has told may be used again. */
  forgetEnded(): void {
    for (const slot of this.slots) if (slot.isEnded) wishGone(slot);
  }

  /** Images of the node that no process runs or shall run. */
  listUnusedImages(): readonly string[] {
    const used = this.slots.flatMap(({ processId, wish }) => {
      const record = this.#read(processId);
      const specs = [wish?.spec, record?.assignment.spec, record?.run?.spec];
      return specs.flatMap((spec) => spec?.image.digest ?? []);
    });
    return this.#presentImages().filter((digest) => !used.some((one) => one === digest));
  }

  /** A container that has begun to be made and was not seen to run. */
  isStarting(): boolean {
    return this.slots.some(({ processId }) => {
      const run = this.#read(processId)?.run;
      return run !== undefined && run.application === undefined;
    });
  }

  /** A container that runs and is not what is wanted. */
  isStopping(): boolean {
    return this.slots.some(({ processId, wish }) => {
      const run = this.#read(processId)?.run;
      if (run?.application === undefined) return false;
      return wish?.desired !== "running" || wish.spec.command?.at(-1) !== run.spec.command?.at(-1);
    });
  }

  #read(processId: string): ProcessRecord | undefined {
    return readRecord(this.#options.paths, processId);
  }

  #free(): readonly Slot[] {
    return this.slots.filter(({ isEnded }) => !isEnded);
  }

  #presentImages(): readonly string[] {
    return listImages(this.#options.paths).map(({ digest }) => digest);
  }

  /** It runs, was seen, and has set up how it takes signals. */
  #isReady(slot: Slot): boolean {
    if (slot.pid === undefined || slot.wish?.desired !== "running") return false;
    const { log } = processPaths(this.#options.paths, slot.processId);
    return readFileSync(log, "utf8").includes(`ready-${markOf(this.#options.key, slot)}\n`);
  }
}
