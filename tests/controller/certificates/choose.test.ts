import { chooseCertificates } from "@strata/controller/domain/certificates/choose";
import { covers, isWithin } from "@strata/controller/domain/certificates/cover";
import { isDue, renewAtMs, retryAfterMs } from "@strata/controller/domain/certificates/due";
import type { CertificateFacts } from "@strata/controller/domain/certificates/model";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";

const DAY_MS = 86_400_000;
const nowMs = Date.parse("2026-06-01T00:00:00Z");

function facts(
  names: readonly string[],
  { days = 30 }: { readonly days?: number } = {},
): CertificateFacts {
  return {
    names,
    issuer: "CN=Test",
    notBefore: new Date(nowMs - DAY_MS).toISOString(),
    notAfter: new Date(nowMs + days * DAY_MS).toISOString(),
    fingerprint: "f",
  };
}

suite("the names of a certificate", (test) => {
  test("a wildcard stands for one label in a certificate, for one and more in a route", () => {
    assert.ok(covers("*.example.com", "www.example.com"));
    assert.ok(covers("*.example.com", "*.example.com"));
    assert.not.ok(covers("*.example.com", "a.b.example.com"));
    assert.not.ok(covers("*.example.com", "example.com"));
    assert.not.ok(covers("*.com", "*.example.com"));
    assert.not.ok(covers("www.example.com", "*.example.com"));
    assert.ok(isWithin("a.b.example.com", "*.example.com"));
    assert.not.ok(isWithin("example.com", "*.example.com"));
    assert.not.ok(isWithin("badexample.com", "*.example.com"));
  });
});

suite("which certificate is shown for a host", (test) => {
  const candidates = [
    { tenant: "a", name: "wild", facts: facts(["*.example.com"], { days: 90 }) },
    { tenant: "a", name: "exact", facts: facts(["www.example.com"]) },
    { tenant: "a", name: "ended", facts: facts(["old.example.com"], { days: -1 }) },
    { tenant: "b", name: "foreign", facts: facts(["www.example.com"], { days: 300 }) },
  ];
  const choose = (
    wishes: Parameters<typeof chooseCertificates>[0],
    automatic: Parameters<typeof chooseCertificates>[1]["automatic"] = [],
  ): ReadonlyMap<string, unknown> =>
    new Map(
      chooseCertificates(wishes, { candidates, automatic, nowMs }).map(({ host, shown }) => [
        host,
        shown?.kind === "tenant" ? shown.name : shown?.host,
      ]),
    );

  test("is the one that its route names, if it is good for it, or else the best of the tenant", () => {
    const wishes = [
      { tenant: "a", host: "www.example.com", certificate: "wild" },
      { tenant: "a", host: "shop.example.com", certificate: "exact" },
    ];
    const chosen = choose(wishes);
    assert.is(chosen.get("www.example.com"), "wild");
    assert.is(chosen.get("shop.example.com"), "wild");
    assert.is(choose([{ tenant: "a", host: "www.example.com" }]).get("www.example.com"), "exact");
  });

  test("is one of our CA where the tenant has none that is good and has not ended", () => {
    const wishes = [{ tenant: "a", host: "old.example.net" }];
    assert.is(choose(wishes).get("old.example.net"), undefined);
    const automatic = [{ tenant: "a", host: "old.example.net", facts: facts(["old.example.net"]) }];
    assert.is(choose(wishes, automatic).get("old.example.net"), "old.example.net");
    assert.is(
      choose([{ tenant: "a", host: "x.old.example.com" }]).get("x.old.example.com"),
      undefined,
    );
  });

  test("an exact name goes before the tenant's wildcard, for hosts that are the tenant's", () => {
    const chosen = choose([{ tenant: "b", host: "*.example.com" }]);
    assert.is(chosen.get("www.example.com"), "foreign");
    assert.is(chosen.get("*.example.com"), undefined);
    assert.not.ok(choose([{ tenant: "b", host: "*.example.org" }]).has("www.example.com"));
  });

  test("is never another tenant's, and never one that has ended", () => {
    const label = fc.constantFrom("a", "b", "www");
    const host = fc
      .tuple(fc.constantFrom("", "*.", "www.", "x.y."), label)
      .map(([prefix, name]) => `${prefix}${name}.example`);
    const tenant = fc.constantFrom("one", "two");
    const certificate = fc.record({
      tenant,
      name: fc.constantFrom("k", "l", "m"),
      facts: fc
        .tuple(fc.array(host, { minLength: 1, maxLength: 3 }), fc.integer({ min: -3, max: 90 }))
        .map(([names, days]) => facts(names, { days })),
    });
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.record({ tenant, host }), {
          selector: (wish) => wish.host,
          maxLength: 6,
        }),
        fc.uniqueArray(certificate, {
          selector: (one) => `${one.tenant}${one.name}`,
          maxLength: 6,
        }),
        (wishes, known) => {
          const choices = chooseCertificates(wishes, { candidates: known, automatic: [], nowMs });
          assert.is(new Set(choices.map((choice) => choice.host)).size, choices.length);
          for (const { host: wished, tenant: owner, shown } of choices) {
            assert.ok(wishes.some((wish) => wish.tenant === owner && isWithin(wished, wish.host)));
            if (shown?.kind !== "tenant") continue;
            const used = known.find((one) => one.tenant === owner && one.name === shown.name);
            assert.ok(used?.facts.names.some((name) => covers(name, wished)));
            assert.ok(Date.parse(used?.facts.notAfter ?? "") > nowMs);
          }
        },
      ),
    );
  });
});

suite("when a certificate is asked for", (test) => {
  const issued = {
    facts: facts(["a"], { days: 89 }),
    revision: 1,
    issuedRevision: 1,
    nextTryAt: null,
  };

  test("at once, after a change, and at two thirds of its life", () => {
    assert.is(renewAtMs(issued.facts), nowMs + 59 * DAY_MS);
    assert.ok(isDue({ ...issued, facts: null, issuedRevision: null }, nowMs));
    assert.ok(isDue({ ...issued, revision: 2 }, nowMs));
    assert.not.ok(isDue(issued, nowMs + 59 * DAY_MS - 1));
    assert.ok(isDue(issued, nowMs + 59 * DAY_MS));
    const later = new Date(nowMs + 1).toISOString();
    assert.not.ok(isDue({ ...issued, facts: null, nextTryAt: later }, nowMs));
  });

  test("after a failure later and later, at most five times in an hour and twice a day for ever", () => {
    const tries = Array.from({ length: 12 }, (_, index) => retryAfterMs(index + 1));
    const times = tries.map((_, index) =>
      tries.slice(0, index).reduce((sum, wait) => sum + wait, 0),
    );
    assert.is(times.filter((at) => at < 3_600_000).length, 4);
    assert.is(tries.at(-1), 12 * 3_600_000);
  });
});
