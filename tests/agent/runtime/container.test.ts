import { execFileSync } from "node:child_process";
import { rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { ProcessReport } from "@strata/protocol/agent/messages";

import { assert, suite } from "../../support/suite.ts";
import { aNode, type NodeOptions } from "../support/a-node.ts";
import { anAssignment } from "../support/an-assignment.ts";

type Spec = NonNullable<Parameters<typeof anAssignment>[1]>["spec"];

/** What a script writes inside a container. It ends with `done`, so that nothing is read too early. */
async function outputOf(
  script: string,
  spec: Spec = {},
  options: NodeOptions = {},
): Promise<string> {
  await using node = await aNode(options);
  node.assign(anAssignment(`${script}; exit 0`, { spec }));
  await node.until("web-1", ({ lastExit }) => lastExit !== undefined);
  return node.log("web-1");
}

async function failureOf(spec: Spec, options: NodeOptions = {}): Promise<ProcessReport> {
  await using node = await aNode(options);
  node.assign(anAssignment("true", spec === undefined ? {} : { spec }));
  return await node.until("web-1", ({ problem }) => problem !== undefined);
}

suite("what an application finds in its container", (test) => {
  test("has the user, the environment and the folder that image and assignment say", async () => {
    const output = await outputOf(
      'id -u; id -g; pwd; echo "$A|$B|$HOME|$HOSTNAME"; stat -c %u:%a .',
      { env: { B: ' b "quoted" # ', HOSTNAME: "mine" } },
      { config: { User: "www", WorkingDir: "/srv/new/deep", Env: ["A=from the image", "B=lost"] } },
    );
    assert.match(
      output,
      /^33\n33\n\/srv\/new\/deep\nfrom the image\| b "quoted" # \|\/var\/www\|mine\n0:755\n/,
    );
  });

  test("runs Entrypoint and Cmd of the image, arguments with line breaks included", async () => {
    await using node = await aNode({
      config: { Entrypoint: ["sh", "-c"], Cmd: ["echo one\necho two\nsleep 600"] },
    });
    const { command: _, ...spec } = anAssignment("").spec;
    node.assign({ ...anAssignment(""), spec: { ...spec, stopGraceMs: 0 } });
    await node.until("web-1", ({ state }) => state === "running");
    node.assign();
    await node.untilForgotten("web-1").then(() => undefined);
  });

  test("has no power over the host", async () => {
    const output = await outputOf(
      [
        "grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status",
        "cat /proc/self/uid_map",
        "unshare -U true || echo no namespace",
        "mount -t tmpfs none /tmp || echo no mount",
        "echo x > /proc/sys/kernel/core_pattern || echo no sysctl",
        "mknod /tmp/sda b 8 0 || echo no device",
        "mkdir /sys/fs/cgroup/memory/x || echo no cgroup",
        "ls /proc/self/fd | grep -vE '^[0-9]$' || echo no handles",
      ].join("; "),
    );
    assert.match(output, /CapBnd:\t00000000800405fb\n/);
    assert.match(output, /NoNewPrivs:\t1\n/);
    assert.match(output, /Seccomp:\t2\n/);
    assert.match(output, /^\s+0 +10737\d+ +65536$/m);
    for (const refusal of ["namespace", "mount", "sysctl", "device", "cgroup", "handles"]) {
      assert.match(output, new RegExp(`^no ${refusal}$`, "m"));
    }
  });

  test("may open its standard output again, as many programs do", async () => {
    const output = await outputOf("echo direct > /dev/stdout; echo error > /dev/stderr", {
      user: "www",
    });
    assert.is(output.split("direct\nerror\n").length - 1 > 0, true);
  });

  test("leaves the host's mount table as it was", async () => {
    const before = execFileSync("cat", ["/proc/self/mounts"], { encoding: "utf8" });
    await using node = await aNode();
    node.assign(anAssignment("sleep 600", { spec: { stopGraceMs: 0 } }));
    await node.until("web-1", ({ state }) => state === "running");
    const during = execFileSync("cat", ["/proc/self/mounts"], { encoding: "utf8" });
    assert.not.match(during, /overlay.*lowerdir=0/);
    assert.is(
      during.split("\n").filter((line) => line.includes("strata")).length,
      before.split("\n").filter((line) => line.includes("strata")).length,
    );
  });
});

suite("images and assignments that mean harm", (test) => {
  test("a line break in the image's environment reaches no configuration", async () => {
    const report = await failureOf(
      {},
      { config: { Env: ["A=b\nlxc.hook.pre-start = /bin/false"] } },
    );
    assert.is(report.state, "failed");
    assert.is(report.problem?.code, "CONTAINER_CONFIG_INVALID");
  });

  test("nor does one in the working directory", async () => {
    const report = await failureOf(
      {},
      { config: { WorkingDir: "/x\nlxc.hook.pre-start = /bin/false" } },
    );
    assert.is(report.problem?.code, "CONTAINER_CONFIG_INVALID");
  });

  test("an unknown user fails for good, and says so", async () => {
    const report = await failureOf({ user: "nobody-here" });
    assert.is(report.state, "failed");
    assert.is(report.problem?.code, "USER_UNKNOWN");
    assert.match(report.problem?.message ?? "", /no user nobody-here/);
  });

  test("an image without a command fails for good", async () => {
    const report = await failureOf({ command: [] });
    assert.is(report.problem?.code, "COMMAND_MISSING");
  });

  test("a command that the image does not have fails for good, and says so", async () => {
    for (const program of ["/no/such/program", "nothing-in-path"]) {
      const report = await failureOf({ command: [program] });
      assert.is(report.state, "failed");
      assert.is(report.problem?.code, "COMMAND_MISSING");
      assert.is(report.problem?.message, `the image has no program ${program}`);
    }
  });

  test("a command may be a link that leads nowhere but in the running container", async () => {
    const report = await failureOf(
      { command: ["/bin/self"] },
      { change: (layer) => symlinkSync("/proc/self/exe", join(layer, "bin/self")) },
    );
    assert.is(report.problem?.code, "CRASHED");
  });

  test("/etc/passwd may be a fifo: nobody waits for it", async () => {
    const output = await outputOf(
      "echo no wait",
      { user: "33" },
      {
        change: (layer) => {
          rmSync(join(layer, "etc/passwd"));
          execFileSync("mkfifo", [join(layer, "etc/passwd")]);
        },
      },
    );
    assert.match(output, /^no wait\n/);
  });

  test("/etc/passwd may be a link: it is followed inside the image alone", async () => {
    // On the host this file names root; in the image there is none of its name.
    const report = await failureOf(
      { user: "root" },
      {
        change: (layer) => {
          rmSync(join(layer, "etc/passwd"));
          symlinkSync("../../../../../../../etc/passwd-", join(layer, "etc/passwd"));
        },
      },
    );
    assert.is(report.problem?.code, "USER_UNKNOWN");
  });

  test("resolv.conf may be a link to anywhere: the host's files stay as they are", async () => {
    const output = await outputOf(
      "cat /etc/hostname; ls -l /etc/resolv.conf | head -c 1",
      {},
      {
        change: (layer) => {
          symlinkSync("/etc/hostname", join(layer, "etc/resolv.conf"));
          writeFileSync(join(layer, "etc/hosts"), "1.2.3.4 evil\n");
        },
      },
    );
    assert.match(output, /^web-1\n-/);
  });

  test("an id outside of the container's range is refused", async () => {
    const report = await failureOf({ user: "70000" });
    assert.is(report.problem?.code, "USER_UNKNOWN");
  });
});
