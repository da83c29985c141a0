import { describeChanges } from "@strata/controller/domain/canonical";
import { beatIntervalMs, isMassLoss } from "@strata/controller/domain/node";
import { defaultLimits, resolveSpec, type Running } from "@strata/controller/domain/running";
import { parseDigest } from "@strata/protocol/oci/digest";

import { assert, suite } from "../../support/suite.ts";

const nothing: Running = {
  command: null,
  args: null,
  env: {},
  user: null,
  workingDir: null,
  ports: null,
  health: null,
  limits: null,
  stopGraceMs: null,
};

function specOf(
  own: Partial<Running>,
  base: Partial<Running> = {},
): ReturnType<typeof resolveSpec> {
  return resolveSpec({
    subscription: { tenant: "t", alias: "hi", running: { ...nothing, ...own } },
    cartridge: {
      name: "hello",
      repository: "hello",
      digest: parseDigest(`sha256:${"a".repeat(64)}`),
      imagePorts: [{ containerPort: 80, protocol: "tcp" }],
      running: { ...nothing, ...base },
    },
    secret: (name) => ({ name, version: 3 }),
  });
}

suite("resolveSpec", (test) => {
  test("says which version of a secret is meant, and of files and volumes takes the subscription's", () => {
    const file = { path: "/etc/key", mode: 0o400, content: { secret: "key" } };
    const spec = specOf(
      { files: [file], secretEnv: { PASSWORD: "db" } },
      { volumes: [{ kind: "tmpfs", path: "/tmp", sizeBytes: 4096 }], readOnly: true },
    );
    assert.equal(spec.files, [{ ...file, content: { secret: { name: "key", version: 3 } } }]);
    assert.equal(spec.secretEnv, { PASSWORD: { name: "db", version: 3 } });
    assert.equal(spec.volumes, [{ kind: "tmpfs", path: "/tmp", sizeBytes: 4096 }]);
    assert.is(spec.readOnly, true);
  });

  test("leaves to the image what nobody said, but for ports, limits and the stop grace", () => {
    const spec = specOf({});
    assert.not.ok("command" in spec || "args" in spec || "user" in spec || "health" in spec);
    assert.equal(spec.ports, [{ name: "tcp-80", containerPort: 80, protocol: "tcp" }]);
    assert.equal(spec.limits, defaultLimits);
    assert.is(spec.stopGraceMs, 10_000);
  });

  test("the subscription wins field by field, and in the environment name by name", () => {
    const spec = specOf(
      { env: { A: "own", C: "own" }, user: "web", ports: [] },
      { env: { A: "base", B: "base" }, user: "root", workingDir: "/srv" },
    );
    assert.equal(spec.env, { A: "own", B: "base", C: "own" });
    assert.is(spec.user, "web");
    assert.is(spec.workingDir, "/srv");
    assert.equal(spec.ports, []);
  });

  test("arguments of the cartridge do not reach a command of the subscription", () => {
    assert.not.ok("args" in specOf({ command: ["/bin/other"] }, { args: ["--base"] }));
    assert.equal(specOf({ args: ["--own"] }, { command: ["/bin/base"], args: ["--base"] }).args, [
      "--own",
    ]);
  });
});

suite("nodes", (test) => {
  test("beat every five seconds, and less often when there are many", () => {
    assert.equal(
      [1, 500, 501, 3000].map((count) => beatIntervalMs(count, 100)),
      [5000, 5000, 5010, 30_000],
    );
  });

  test("a mass is more than three and more than 45 % of those that were there lately", () => {
    const fleet = (away: number, present: number, silentMs = 20_000): boolean =>
      isMassLoss([
        ...Array.from({ length: away }, () => ({ away: true, silentMs })),
        ...Array.from({ length: present }, () => ({ away: false, silentMs: 0 })),
      ]);
    assert.equal(
      [fleet(3, 0), fleet(4, 4), fleet(4, 5), fleet(45, 55), fleet(46, 54)],
      [false, true, false, false, true],
    );
    const oldNews = Array.from({ length: 50 }, () => ({ away: true, silentMs: 9_000_000 }));
    assert.not.ok(
      isMassLoss([...oldNews, { away: true, silentMs: 20_000 }, { away: false, silentMs: 0 }]),
    );
    assert.not.ok(isMassLoss([]));
  });
});

suite("describeChanges", (test) => {
  test("one line for each field that differs, whatever the order of keys", () => {
    assert.equal(
      describeChanges(
        { a: 1, b: { x: 1, y: 2 }, c: "old" },
        { b: { y: 2, x: 1 }, a: 2, c: "new", d: null, e: {} },
      ),
      ["a: 1 -> 2", "c: old -> new"],
    );
  });
});
