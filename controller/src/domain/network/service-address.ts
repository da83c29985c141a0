/** The addresses that subscriptions have for as long as they exist. Each stores a number; the network is a setting. */

/** Numbers are given from 1 to this: every network that the setting may be has room for them. */
const SERVICE_NUMBER_MAX = 131_070;

/** IPv4 with at most so many bits of network. */
const PREFIX_MIN = 8;
const PREFIX_MAX = 15;

/** The first address of a network. */
export type ServiceNetwork = { readonly base: number };

/** Of `198.18.0.0/15`. Undefined where it is none, or too small. */
export function parseServiceNetwork(text: string): ServiceNetwork | undefined {
  const [, a, b, c, d, bits] =
    /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/.exec(text) ?? [];
  const prefix = Number(bits);
  const parts = [a, b, c, d].map(Number);
  if (!parts.every((part) => part <= 255) || !(prefix >= PREFIX_MIN && prefix <= PREFIX_MAX))
    return undefined;
  const base = parts.reduce((sum, part) => sum * 256 + part, 0);
  return base % 2 ** (32 - prefix) === 0 ? { base } : undefined;
}

/** Null for what has no number: the subscription of a job. */
export function serviceAddress(
  { base }: ServiceNetwork,
  { serviceNumber }: { readonly serviceNumber: number | null },
): string | null {
  if (serviceNumber === null) return null;
  const address = base + serviceNumber;
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join(".");
}

/** The first free one after the last that was given, so that what a deleted subscription had comes back late: names are
 * remembered for a while. Undefined when all are taken. */
export function nextServiceNumber(
  last: number,
  isTaken: (number: number) => boolean,
): number | undefined {
  for (let step = 1; step <= SERVICE_NUMBER_MAX; step += 1) {
    const number = ((last + step - 1) % SERVICE_NUMBER_MAX) + 1;
    if (!isTaken(number)) return number;
  }
  return undefined;
}
