const FIRST_MS = 250;
const UNREACHED_MS_MAX = 15_000;
/** For a controller that answers, and says no: only a person can change that. */
const REFUSED_MS_MAX = 5 * 60_000;

/** How long to wait after so many failures in a row until the controller is asked again. Pure.
 * @param random between 0 and 1; spreads the retries of many nodes */
export function backoffMs(
  failures: number,
  { isRefused, random }: { readonly isRefused: boolean; readonly random: number },
): number {
  const max = isRefused ? REFUSED_MS_MAX : UNREACHED_MS_MAX;
  const limit = Math.min(max, FIRST_MS * 2 ** Math.min(failures - 1, 16));
  return limit * (0.5 + random / 2);
}
