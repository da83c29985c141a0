/** Which certificate is shown for which host. Pure. */
import { covers, isWithin } from "./cover.ts";
import type { CertificateFacts, HostWish } from "./model.ts";

export type Candidate = {
  readonly tenant: string;
  readonly name: string;
  readonly facts: CertificateFacts;
};

export type Automatic = {
  readonly tenant: string;
  /** Its only name. */
  readonly host: string;
  readonly facts: CertificateFacts;
};

export type Choice = {
  readonly host: string;
  readonly tenant: string;
  /** Undefined: one of our CA has to be made. */
  readonly shown:
    | { readonly kind: "tenant"; readonly name: string }
    | { readonly kind: "automatic"; readonly host: string }
    | undefined;
};

type Known = {
  readonly candidates: readonly Candidate[];
  readonly automatic: readonly Automatic[];
  readonly nowMs: number;
};

/** One choice for each host, in the order of the wishes: the certificate that its route names, if it is good for the
 * host; the best of the tenant's; one of our CA. Certificates are shown for hosts of their own tenant alone. A host
 * that two tenants wish for is the first one's. */
export function chooseCertificates(wishes: readonly HostWish[], known: Known): readonly Choice[] {
  const candidates = byTenant(known.candidates.filter((one) => isAlive(one, known.nowMs)));
  const automatic = byTenant(known.automatic.filter((one) => isAlive(one, known.nowMs)));
  const choices = new Map<string, Choice>();
  for (const wish of [...wishes, ...moreWishes(wishes, candidates)]) {
    if (choices.has(wish.host)) continue;
    const { tenant, host } = wish;
    const own = pickOwn(wish, candidates.get(tenant) ?? []);
    const ours = (automatic.get(tenant) ?? []).filter((one) => covers(one.host, host));
    const made = ours.find((one) => one.host === host) ?? ours[0];
    choices.set(host, {
      host,
      tenant,
      shown:
        own !== undefined
          ? { kind: "tenant", name: own.name }
          : made && { kind: "automatic", host: made.host },
    });
  }
  return [...choices.values()];
}

/** Names of certificates that are hosts of their tenant by a wildcard: `web.shop.example.com` of `*.shop.example.com`. */
function moreWishes(
  wishes: readonly HostWish[],
  candidates: ReadonlyMap<string, readonly Candidate[]>,
): readonly HostWish[] {
  const patterns = byTenant(wishes.filter(({ host }) => host.startsWith("*.")));
  return [...candidates].flatMap(([tenant, own]) =>
    own
      .flatMap(({ facts }) => facts.names)
      .filter((name) => (patterns.get(tenant) ?? []).some(({ host }) => isWithin(name, host)))
      .map((host) => ({ tenant, host })),
  );
}

function pickOwn(
  { host, certificate }: HostWish,
  own: readonly Candidate[],
): Candidate | undefined {
  const good = own.filter(({ facts }) => facts.names.some((name) => covers(name, host)));
  const named = good.find(({ name }) => name === certificate);
  return named ?? good.toSorted((a, b) => rank(a, b, host))[0];
}

/** Exact names before wildcards, then what ends last. */
function rank(a: Candidate, b: Candidate, host: string): number {
  const exact = Number(b.facts.names.includes(host)) - Number(a.facts.names.includes(host));
  const later = Date.parse(b.facts.notAfter) - Date.parse(a.facts.notAfter);
  return exact || later || (a.name < b.name ? -1 : 1);
}

function isAlive({ facts }: { readonly facts: CertificateFacts }, nowMs: number): boolean {
  return Date.parse(facts.notAfter) > nowMs;
}

function byTenant<Item extends { readonly tenant: string }>(
  items: readonly Item[],
): ReadonlyMap<string, readonly Item[]> {
  return Map.groupBy(items, ({ tenant }) => tenant);
}
