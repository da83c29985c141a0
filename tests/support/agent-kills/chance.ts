/** Decisions of a schedule that the same seed repeats. */
export class Chance {
  readonly #random: () => number;

  /** `random` is between 0 and 1. */
  constructor(random: () => number) {
    this.#random = random;
  }

  happens(probability: number): boolean {
    return this.#random() < probability;
  }

  upTo(limit: number): number {
    return this.#random() * limit;
  }

  /** Undefined when there is none. */
  pick<T>(from: readonly T[]): T | undefined {
    return from[Math.floor(this.#random() * from.length)];
  }
}
