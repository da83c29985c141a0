import {
  type Claim,
  type Claimant,
  claimVolumes,
  type KnownVolume,
  nextFence,
  volumesOf,
} from "@strata/controller/domain/volumes";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";

const aClaimant = (id: string, ...wishes: Claimant["wishes"]): Claimant => ({
  id,
  tenant: "acme",
  wishes,
});
const sole = (name: string): Claimant["wishes"][number] => ({ name, isSole: true });
const shared = (name: string): Claimant["wishes"][number] => ({ name, isSole: false });
const on = (id: string, fields: Partial<KnownVolume> = {}): KnownVolume => ({
  isLeaving: false,
  node: { id, name: id, closed: undefined },
  holder: undefined,
  ...fields,
});
const describe = (claim: Claim | undefined): string =>
  claim === undefined
    ? "none"
    : claim.kind === "refused"
      ? `${claim.problem.code}: ${claim.problem.message}`
      : claim.kind === "free"
        ? `free ${claim.nodeId ?? "anywhere"}`
        : claim.kind;

suite("claimVolumes", (test) => {
  test("goes where the volume is, waits for its writer, and names what is in the way", () => {
    const claim = (known: Record<string, KnownVolume>, ...wishes: Claimant["wishes"]): string => {
      const volumes = new Map(Object.entries(known));
      return describe(claimVolumes([aClaimant("db-2", ...wishes)], volumes).get("db-2"));
    };
    assert.is(claim({}, sole("data")), "free anywhere");
    assert.is(claim({ "acme/data": on("n1") }, sole("data")), "free n1");
    assert.is(claim({ "other/data": on("n1") }, sole("data")), "free anywhere");
    const held = { "acme/data": on("n1", { holder: "db-1" }) };
    assert.match(claim(held, sole("data")), /^VOLUME_HELD: .*db-1/);
    assert.is(claim(held, shared("data")), "free n1", "readers bear a writer");
    const away = on("n1", { node: { id: "n1", name: "n1", closed: "away" } });
    assert.match(claim({ "acme/data": away }, shared("data")), /^VOLUME_ELSEWHERE: .*n1.* away/);
    const apart = { "acme/data": on("n1"), "acme/logs": on("n2") };
    assert.match(claim(apart, sole("data"), sole("logs")), /different nodes/);
    assert.match(claim({ "acme/data": on("n1", { isLeaving: true }) }, sole("data")), /deleted/);
  });

  test("never lets two write to one volume, nor make it twice", () => {
    const wish = fc.record({ name: fc.constantFrom("a", "b", "c"), isSole: fc.boolean() });
    const wishes = fc.uniqueArray(wish, { selector: ({ name }) => name, minLength: 1 });
    const volume = fc.constantFrom(undefined, on("n1"), on("n2"), on("n1", { holder: "x" }));
    fc.assert(
      fc.property(
        fc.array(wishes, { maxLength: 8 }),
        fc.tuple(volume, volume, volume),
        (all, [a, b, c]) => {
          const known = new Map(
            Object.entries({ a, b, c }).flatMap(([name, one]) =>
              one === undefined ? [] : [[`acme/${name}`, one] as const],
            ),
          );
          const claimants = all.map((each, index) => aClaimant(`p${index}`, ...each));
          const claims = claimVolumes(claimants, known);
          assert.is(claims.size, claimants.length);
          const through = claimants.filter(({ id }) => claims.get(id)?.kind === "free");
          for (const name of ["a", "b", "c"]) {
            const users = through.filter((one) => one.wishes.some((w) => w.name === name));
            const writers = users.filter((one) =>
              one.wishes.some((w) => w.name === name && w.isSole),
            );
            const place = known.get(`acme/${name}`);
            assert.ok(writers.length <= (place?.holder === undefined ? 1 : 0));
            if (place === undefined) assert.ok(users.length <= 1, "two would make it twice");
            for (const { id } of users) {
              const claim = claims.get(id);
              if (place?.node !== undefined && claim?.kind === "free")
                assert.is(claim.nodeId, place.node.id);
            }
          }
        },
      ),
    );
  });
});

suite("a fence", (test) => {
  test("grows, also past one that a restored database has forgotten", () => {
    const before = nextFence(nextFence(0, 1_000_000_000), 1_000_000_500);
    assert.is(before, 1_000_001);
    assert.ok(nextFence(0, 1_000_003_000) > before);
    assert.ok(nextFence(before, 0) > before, "a clock that was set back");
  });
});

suite("volumesOf", (test) => {
  test("tells those that one alone may write to", () => {
    const volumes = [
      { kind: "named", name: "data", path: "/a", readOnly: true },
      { kind: "named", name: "data", path: "/b", readOnly: false },
      { kind: "named", name: "seen", path: "/c", readOnly: true },
      { kind: "named", name: "many", path: "/d", readOnly: false, shared: true },
      { kind: "tmpfs", path: "/e", sizeBytes: 4096 },
    ] as const;
    assert.equal(volumesOf({ volumes: [...volumes] }), [
      { name: "data", isSole: true },
      { name: "seen", isSole: false },
      { name: "many", isSole: false },
    ]);
  });
});
