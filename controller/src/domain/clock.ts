/** Time as main.ts hands it in. */
export type Clock = {
  /** Of the calendar, for what people read and for expiry dates. May jump. */
  readonly nowMs: () => number;
  /** Never jumps: for everything that decides whether somebody is silent. */
  readonly monotonicMs: () => number;
};

/** Randomness as main.ts hands it in. */
export type Randomness = {
  /** Eight lower-case letters and digits. */
  readonly newId: () => string;
  /** 256 bits, base64url. */
  readonly newSecret: () => string;
  /** 0 <= x < 1. */
  readonly fraction: () => number;
};
