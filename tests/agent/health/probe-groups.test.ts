import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { Cgroups } from "@strata/agent/cgroup/cgroups";
import { createLegacyCgroups } from "@strata/agent/cgroup/legacy";
import { createUnifiedCgroups } from "@strata/agent/cgroup/unified";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

const controllers = ["memory", "cpu", "cpuacct", "pids", "devices", "freezer"];
const container = "strata/agent/web-1/box/c";

/** Folders stand for hierarchies. */
function legacyIn(folder: string): Cgroups {
  const legacy = new Map(controllers.map((name) => [name, join(folder, name)]));
  return createLegacyCgroups({
    mounts: { legacy, unified: join(folder, "unified") },
    parent: "strata/agent",
    disk: undefined,
  });
}

suite("groups of health probes", (test) => {
  test("on v2 are one below the container's", async () => {
    await using folder = aTemporaryDirectory();
    const mount = folder.path;
    const cgroups = createUnifiedCgroups({ mount, parent: "strata/agent", disk: undefined });
    const own = join(mount, container, "probe-liveness");
    mkdirSync(join(mount, container), { recursive: true });
    const file = join(own, "cgroup.procs");
    assert.equal(cgroups.probeFiles("web-1", "liveness"), [file]);
    assert.equal(cgroups.probeFiles("web-1", "liveness"), [file]);
    writeFileSync(file, "12\n13\n");
    assert.equal(cgroups.listProbePids("web-1", "liveness"), [12, 13]);
    assert.equal(cgroups.listProbePids("web-1", "readiness"), []);
    // What runs there is in the container, and ends with it.
    assert.equal(cgroups.listContainerPids("web-1"), [12, 13]);
  });

  test("on v1 are one hierarchy's, and the container's own in all that it is in", async () => {
    await using folder = aTemporaryDirectory();
    for (const name of ["memory", "pids", "devices", "unified"])
      mkdirSync(join(folder.path, name, container), { recursive: true });
    const cgroups = legacyIn(folder.path);
    const file = (name: string): string => join(folder.path, name, container, "cgroup.procs");
    const own = join(folder.path, "pids", container, "probe-liveness/cgroup.procs");
    assert.equal(cgroups.probeFiles("web-1", "liveness"), [
      own,
      file("memory"),
      file("devices"),
      file("unified"),
    ]);
    writeFileSync(own, "12\n");
    assert.equal(cgroups.listProbePids("web-1", "liveness"), [12]);
  });

  test("are not made for a container that is gone", async () => {
    await using folder = aTemporaryDirectory();
    const mount = folder.path;
    const unified = createUnifiedCgroups({ mount, parent: "strata/agent", disk: undefined });
    for (const cgroups of [unified, legacyIn(mount)]) {
      assert.is(cgroups.probeFiles("web-1", "liveness"), undefined);
      assert.equal(cgroups.listProbePids("web-1", "liveness"), []);
      assert.not.ok(cgroups.isFrozen("web-1"));
    }
    assert.not.ok(existsSync(join(mount, "strata")));
    assert.not.ok(existsSync(join(mount, "pids/strata")));
  });

  test("know whether the container is frozen, by whatever can freeze it", async () => {
    await using folder = aTemporaryDirectory();
    const mount = folder.path;
    const unified = createUnifiedCgroups({ mount, parent: "strata/agent", disk: undefined });
    const legacy = legacyIn(mount);
    const say = (path: string, text: string): void => {
      mkdirSync(join(mount, path, container), { recursive: true });
      const name = path === "freezer" ? "freezer.state" : "cgroup.events";
      writeFileSync(join(mount, path, container, name), text);
    };
    say("", "populated 1\nfrozen 1\n");
    assert.ok(unified.isFrozen("web-1"));
    say("", "populated 1\nfrozen 0\n");
    assert.not.ok(unified.isFrozen("web-1"));
    for (const state of ["FREEZING", "FROZEN", "THAWED"]) {
      say("freezer", `${state}\n`);
      assert.is(legacy.isFrozen("web-1"), state !== "THAWED");
    }
    say("unified", "populated 1\nfrozen 1\n");
    assert.ok(legacy.isFrozen("web-1"));
  });
});
