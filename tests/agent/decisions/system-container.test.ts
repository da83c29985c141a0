import { planContents } from "@strata/agent/container/contents-plan";
import { haltSignal, isSystemContainer, SIGPWR } from "@strata/agent/container/system-container";
import type { Volume } from "@strata/protocol/agent/messages";
import fc from "fast-check";

import { assert, suite, throwsWithCode } from "../../support/suite.ts";

suite("isSystemContainer", (test) => {
  test("knows inits by their names, as the whole entry point of root", () => {
    for (const argv of [
      ["/sbin/init"],
      ["/lib/systemd/systemd", "--log-level=info"],
      ["/init"],
      ["/bin/busybox", "init"],
      ["busybox", "init"],
    ]) {
      assert.is(isSystemContainer(undefined, { argv, user: "" }), true, argv.join(" "));
      assert.is(isSystemContainer("auto", { argv, user: "0:0" }), true);
      assert.is(isSystemContainer("auto", { argv, user: "www" }), false);
      assert.is(isSystemContainer("application", { argv, user: "" }), false);
    }
    for (const argv of [
      ["/bin/sh", "/sbin/init"],
      ["/bin/busybox", "httpd"],
      ["init"],
      ["/sbin/tini", "--", "app"],
    ]) {
      assert.is(isSystemContainer(undefined, { argv, user: "" }), false, argv.join(" "));
      assert.is(isSystemContainer("system", { argv, user: "www" }), true);
    }
  });
});

suite("haltSignal", (test) => {
  test("is what the init takes, unless somebody asked for another", () => {
    assert.is(haltSignal(SIGPWR, "/usr/lib/systemd/systemd"), 37);
    assert.is(haltSignal(SIGPWR, "/bin/busybox"), 12);
    assert.is(haltSignal(SIGPWR, "/usr/sbin/runit"), 18);
    assert.is(haltSignal(SIGPWR, "/sbin/other"), SIGPWR);
    assert.is(haltSignal(SIGPWR, undefined), SIGPWR);
    assert.is(haltSignal(15, "/usr/lib/systemd/systemd"), 15);
  });
});

suite("planContents", (test) => {
  const name = fc.constantFrom("a", "b", "c");
  const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((parts) => `/${parts.join("/")}`);

  test("mounts what lies in another after it, whatever the order of the wishes", () => {
    fc.assert(
      fc.property(fc.uniqueArray(path, { maxLength: 12 }), (paths) => {
        const volumes = paths.map((at): Volume => ({ kind: "tmpfs", path: at, sizeBytes: 4096 }));
        const order = planContents({ volumes }).map((mount) =>
          mount.kind === "file" ? "" : mount.volume.path,
        );
        assert.equal(new Set(order), new Set(paths));
        for (const [index, inner] of order.entries()) {
          const after = order.slice(index + 1);
          assert.not.ok(after.some((outer) => inner.startsWith(`${outer}/`)));
        }
      }),
    );
  });

  test("never mounts on what the container is made of, however it is written", () => {
    const harmful = fc.constantFrom(
      "/proc",
      "/sys",
      "/dev",
      "/..",
      "/.",
      "//",
      "/a/..",
      "/a/.",
      "",
    );
    fc.assert(
      fc.property(harmful, fc.constantFrom("", "/x", "/x/y"), (begin, end) => {
        const volumes: Volume[] = [{ kind: "tmpfs", path: begin + end, sizeBytes: 4096 }];
        if (begin === "" && end !== "") return;
        throwsWithCode(() => planContents({ volumes }), "CONTAINER_CONFIG_INVALID");
      }),
    );
  });

  test("leaves out its own folder where somebody wants another one there", () => {
    const own = { kind: "tmpfs", path: "/run", sizeBytes: 1 } as const;
    const wanted = { kind: "tmpfs", path: "/run", sizeBytes: 4096 } as const;
    assert.equal(planContents({ volumes: [wanted] }, [own, own]), [
      { kind: "tmpfs", volume: wanted },
    ]);
    assert.is(planContents({}, [own, own]).length, 1);
  });
});
