import { planRun } from "@strata/agent/container/run-plan";
import { getSignalNumber } from "@strata/agent/host/signals";
import { appArmorEntries } from "@strata/agent/lxc/apparmor";
import { renderLxcConfig } from "@strata/agent/lxc/config-writer";
import type { ImageConfig } from "@strata/protocol/oci/image";
import fc from "fast-check";

import { assert, suite, throwsWithCode } from "../../support/suite.ts";
import { anAssignment } from "../support/an-assignment.ts";

suite("renderLxcConfig", (test) => {
  test("gives one line for each entry, whatever the value, or refuses it", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 200 }), (value) => {
        if (/[\0\n\r]/.test(value)) {
          throwsWithCode(
            () => renderLxcConfig([["lxc.environment", value]]),
            "CONTAINER_CONFIG_INVALID",
          );
          return;
        }
        assert.is(renderLxcConfig([["lxc.environment", value]]), `lxc.environment = "${value}"\n`);
      }),
    );
  });
});

suite("appArmorEntries", (test) => {
  test("leaves LXC its own profile where that is loaded, and asks for none elsewhere", () => {
    const none = [["lxc.apparmor.profile", "unconfined"]];
    assert.equal(appArmorEntries("man (enforce)\nlxc-container-default-cgns (enforce)\n"), []);
    assert.equal(appArmorEntries("lxc-container-default-cgns-mine (enforce)\n"), none);
    assert.equal(appArmorEntries(""), none);
    assert.equal(appArmorEntries(undefined), none);
  });
});

const image = (config: ImageConfig["config"]): ImageConfig => ({
  architecture: "amd64",
  os: "linux",
  config,
  rootfs: { type: "layers", diff_ids: [] },
});

function planFor(config: ImageConfig["config"], spec: Parameters<typeof planRun>[0] | object = {}) {
  const { command: _, ...base } = anAssignment("").spec;
  return planRun({ ...base, ...spec }, image(config), { hostname: "web-1" });
}

suite("planRun", (test) => {
  test("joins Entrypoint and Cmd, and lets command and args replace them", () => {
    const config = { Entrypoint: ["/e"], Cmd: ["c"] };
    assert.equal(planFor(config).argv, ["/e", "c"]);
    assert.equal(planFor(config, { args: ["x"] }).argv, ["/e", "x"]);
    assert.equal(planFor(config, { command: ["/n"] }).argv, ["/n"]);
    assert.equal(planFor(config, { command: ["/n"], args: ["x"] }).argv, ["/n", "x"]);
    throwsWithCode(() => planFor({}), "COMMAND_MISSING");
  });

  test("takes the image's environment, then the assignment's, over its own defaults", () => {
    const { env } = planFor(
      { Cmd: ["/c"], Env: ["PATH=/p", "A=1=2", "B=image"] },
      { env: { B: "assignment" } },
    );
    assert.equal(env, { PATH: "/p", HOSTNAME: "web-1", A: "1=2", B: "assignment" });
  });

  test("publishes what the image exposes where the assignment names no port", () => {
    const { ports } = planFor({
      Cmd: ["/c"],
      ExposedPorts: { "8080/tcp": {}, "53/udp": {}, "x/tcp": {}, "0": {} },
    });
    assert.equal(ports, [
      { name: "tcp-8080", containerPort: 8080, protocol: "tcp" },
      { name: "udp-53", containerPort: 53, protocol: "udp" },
    ]);
  });

  test("keeps the working directory below the root", () => {
    assert.is(planFor({ Cmd: ["/c"], WorkingDir: "../../x/./y" }).workingDir, "/x/y");
    assert.is(planFor({ Cmd: ["/c"] }).workingDir, "/");
  });

  test("knows stop signals by name, short name and number", () => {
    for (const [text, number] of [
      ["SIGQUIT", 3],
      ["QUIT", 3],
      ["9", 9],
      ["SIGRTMIN+3", 37],
    ] as const) {
      assert.is(planFor({ Cmd: ["/c"], StopSignal: text }).stopSignal, number);
    }
    throwsWithCode(
      () => planFor({ Cmd: ["/c"], StopSignal: "SIGNOPE" }),
      "CONTAINER_CONFIG_INVALID",
    );
    assert.is(getSignalNumber("SIGRTMAX+1"), undefined);
    assert.is(getSignalNumber("toString"), undefined);
  });

  test("refuses what could end a line or a word", () => {
    for (const config of [
      { Cmd: ["/c"], Env: ["A=1\nB=2"] },
      { Cmd: ["/c"], Env: ["no value"] },
      { Cmd: ["/c\0d"] },
      { Cmd: ["/c"], User: "a b" },
      { Cmd: ["/c"], WorkingDir: "/a\nb" },
    ]) {
      throwsWithCode(() => planFor(config), "CONTAINER_CONFIG_INVALID");
    }
  });
});
