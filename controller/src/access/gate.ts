/** Who asks, and whether he asks too often. */
import { createRateLimiter, type RateLimiter, type RateState } from "../domain/token-bucket.ts";
import { RateLimitedError } from "../errors.ts";
import type { Authenticate, Principal } from "./authenticate.ts";
import { networkOf } from "./caller-address.ts";

export type Gate = {
  /** @throws ControllerError RATE_LIMITED, and what `Authenticate` throws */
  readonly admit: (credential: string, address: string) => Promise<Admitted>;
  /** For the store, whose clients send hundreds of requests for one image.
   * @throws ControllerError RATE_LIMITED */
  readonly admitToStore: (caller: Principal) => void;
  /** Counts a credential that was wrong. @throws ControllerError RATE_LIMITED */
  readonly refuse: (address: string) => void;
};

export type Admitted = {
  readonly caller: Principal | undefined;
  /** Undefined where there is no limit. */
  readonly rate: RateState | undefined;
};

export type GateOptions = {
  readonly authenticate: Authenticate;
  readonly monotonicMs: () => number;
  /** Requests of one token, where it says nothing itself; 0 is no limit. */
  readonly ratePerMinute: number;
};

/** Wrong credentials of one address, or one network of IPv6. Right ones pass all the same: a secret has 256 random bits
 * that nobody guesses, and one agent with an old credential must not lock out all others behind its address. */
const WRONG_PER_MINUTE = 60;
/** Of all addresses together. */
const WRONG_PER_MINUTE_IN_ALL = 6000;
const STORE_FACTOR = 10;
const KEYS_MAX = 20_000;

export function createGate({ authenticate, monotonicMs, ratePerMinute }: GateOptions): Gate {
  const limiter = createRateLimiter({ monotonicMs, keysMax: KEYS_MAX });
  const rateOf = (caller: Principal): number =>
    caller.scope === "agent" ? 0 : (caller.ratePerMinute ?? ratePerMinute);
  const refuse = (address: string): void => refuseWrong(limiter, address);
  return {
    admit: async (credential, address) => {
      const caller = await authenticate(credential);
      if (caller === undefined) {
        refuse(address);
        return { caller, rate: undefined };
      }
      const perMinute = rateOf(caller);
      if (perMinute === 0) return { caller, rate: undefined };
      const rate = limiter.take(`api:${caller.id}`, perMinute);
      if (!rate.isAllowed) throw tooOften(rate);
      return { caller, rate };
    },
    admitToStore: (caller) => {
      const perMinute = STORE_FACTOR * rateOf(caller);
      if (perMinute === 0) return;
      const rate = limiter.take(`store:${caller.id}`, perMinute);
      if (!rate.isAllowed) throw tooOften(rate);
    },
    refuse,
  };
}

function refuseWrong(limiter: RateLimiter, address: string): void {
  // There is none where there are no sockets.
  if (address === "") return;
  const rate = limiter.take(`wrong:${networkOf(address)}`, WRONG_PER_MINUTE);
  const inAll = limiter.take("wrong:", WRONG_PER_MINUTE_IN_ALL);
  const exceeded = [rate, inAll].find(({ isAllowed }) => !isAllowed);
  if (exceeded === undefined) return;
  throw new RateLimitedError(
    `more than ${exceeded.limit} wrong credentials in a minute`,
    "correct the token of whoever asks from this address",
    exceeded,
  );
}

function tooOften(rate: RateState): RateLimitedError {
  return new RateLimitedError(
    `more than ${rate.limit} requests of this token in a minute`,
    "wait as long as Retry-After says, ask less often, or have an admin make a token with another ratePerMinute",
    rate,
  );
}
