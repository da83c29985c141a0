/** Containers whose PID 1 is the image's init: a Debian with systemd, and the same with runit. */
import type { ImageSource } from "@strata/agent/container/image-source";
import type { ProcessReport, ProcessSpec } from "@strata/protocol/agent/messages";

import { aNode, type TestNode } from "../agent/support/a-node.ts";
import { anAssignment } from "../agent/support/an-assignment.ts";
import { anExec } from "../agent/support/exec-connection.ts";
import { requireSystemImage } from "../support/machines/system-image.ts";
import { assert, suite } from "../support/suite.ts";

const timeoutMs = 180_000;
const layer = { directory: requireSystemImage() };

/** One layer: the whole system. `command` is the image's entry point. */
function aSystem(command: readonly string[]): ImageSource {
  return {
    ensure: () =>
      Promise.resolve({
        config: {
          architecture: "amd64",
          os: "linux",
          config: { Entrypoint: [...command] },
          rootfs: { type: "layers", diff_ids: [] },
        },
        layers: [layer],
      }),
  };
}

function assignmentOf(spec: Partial<ProcessSpec> = {}): ReturnType<typeof anAssignment> {
  const assignment = anAssignment("", {
    spec: {
      ports: [{ name: "http", containerPort: 8080, protocol: "tcp" }],
      health: {
        kind: "http",
        port: 8080,
        path: "/",
        intervalMs: 500,
        timeoutMs: 5000,
        failureThreshold: 3,
      },
      limits: { memoryMaxBytes: 256 * 1024 ** 2, cpuMaxMillis: 2000, pidsMax: 256 },
      stopGraceMs: 120_000,
      ...spec,
    },
  });
  const { command: _, ...rest } = assignment.spec;
  return { ...assignment, spec: rest };
}

async function aRunningSystem(command: readonly string[]): Promise<TestNode> {
  const node = await aNode({ images: aSystem(command) });
  node.assign(assignmentOf());
  await node.until("web-1", ({ ready }) => ready);
  return node;
}

async function run(node: TestNode, script: string): Promise<string> {
  const { result } = anExec(node, { command: ["sh", "-c", script] });
  const { stdout, stderr, code } = await result;
  assert.is(code, 0, `${script}: ${stdout}${stderr}`);
  return stdout.trim();
}

/** Over the port that the node publishes. */
async function fetchPage(node: TestNode, { ports }: ProcessReport): Promise<string> {
  const { address } = node.runtime().services.network.place(0);
  const host = address.replace(/\d+$/, "1");
  const answer = await fetch(`http://${host}:${ports[0]?.hostPort}/`);
  return answer.text();
}

async function stopped(node: TestNode): Promise<ProcessReport> {
  node.assign({ ...assignmentOf(), desired: "stopped", fence: 2 });
  return await node.until("web-1", ({ state }) => state === "stopped");
}

suite("a system container with systemd", (test) => {
  test(
    "runs its services, restarts one that is killed, answers, and ends in order",
    async () => {
      await using node = await aRunningSystem(["/sbin/init"]);
      assert.match(await run(node, "readlink /proc/1/exe"), /systemd$/);
      assert.is(await run(node, "systemctl is-system-running --wait"), "running");
      assert.is(await run(node, "systemctl is-active web worker"), "active\nactive");
      assert.is(await run(node, "id -un; hostname"), "root\nweb-1");
      const before = node.report("web-1");
      assert.match(await fetchPage(node, before ?? fail()), /served by an init/);
      const restarted = await run(
        node,
        "old=$(systemctl show -P MainPID web); kill -9 $old; " +
          "while new=$(systemctl show -P MainPID web); [ $new = $old ] || [ $new = 0 ]; do sleep 0.1; done; systemctl is-active web",
      );
      assert.is(restarted, "active");
      assert.ok((before?.metrics?.pids ?? 0) >= 4, "its services are counted");
      assert.match(node.log("web-1"), /Welcome to .*Debian/);

      await node.restart();
      const after = await node.until("web-1", ({ ready }) => ready);
      assert.is(after.pid, before?.pid, "another life of the agent takes it over");

      const { lastExit } = await stopped(node);
      assert.equal([lastExit?.code, lastExit?.reason], [0, "exited"]);
      assert.match(node.log("web-1"), /Stopped .*web\.service/);
    },
    { timeoutMs },
  );

  test(
    "may reboot in its place, and ends with 0 when it powers off",
    async () => {
      await using node = await aRunningSystem(["/sbin/init"]);
      const before = node.report("web-1");
      await run(node, "echo kept >/root/kept; systemctl --no-block reboot");
      const after = await node.until(
        "web-1",
        ({ pid, ready }) => ready && pid !== undefined && pid !== before?.pid,
      );
      assert.is(after.restarts, 0);
      assert.is(after.lastExit, undefined);
      assert.match(
        await run(
          node,
          "cat /root/kept; until systemctl is-active web 2>/dev/null; do sleep 0.2; done",
        ),
        /^kept\n(.*\n)*active$/,
      );
      await run(node, "systemctl --no-block poweroff");
      const { lastExit } = await node.until("web-1", (report) => report.lastExit !== undefined);
      assert.equal([lastExit?.code, lastExit?.reason], [0, "exited"]);
    },
    { timeoutMs },
  );

  test(
    "has an own part of the control groups and no way to the host's",
    async () => {
      await using node = await aRunningSystem(["/sbin/init"]);
      const output = await run(
        node,
        [
          "cat /proc/1/cgroup | cut -d : -f 3 | grep -v '^/\\(init.scope\\)\\?$' | head -n 3",
          "echo 1 >/proc/sys/kernel/core_pattern 2>/dev/null || echo no sysctl",
          "mknod /dev/sda b 8 0 2>/dev/null && echo x >/dev/sda 2>/dev/null || echo no device",
          "mount -t tmpfs none /mnt && echo own mounts",
          "date -s 2001-01-01 >/dev/null 2>&1 || echo no clock",
          "busybox ip address add 10.9.9.9/24 dev eth0 2>/dev/null || echo no address",
          "busybox arping -c 1 10.9.9.9 >/dev/null 2>&1 || echo no packets",
          "cat /proc/self/uid_map",
        ].join("; "),
      );
      assert.match(
        output,
        /^no sysctl\nno device\nown mounts\nno clock\nno address\nno packets\n +0 +10737\d+ +65536$/,
      );
    },
    { timeoutMs },
  );

  test(
    "whose init is killed says so",
    async () => {
      await using node = await aRunningSystem(["/sbin/init"]);
      process.kill(node.report("web-1")?.pid ?? fail(), "SIGKILL");
      const { lastExit } = await node.until("web-1", (report) => report.lastExit !== undefined);
      assert.equal([lastExit?.code, lastExit?.reason], [137, "signaled"]);
    },
    { timeoutMs },
  );
});

suite("a system container with runit", (test) => {
  test(
    "runs its services and ends them in order",
    async () => {
      await using node = await aRunningSystem(["/sbin/runit"]);
      assert.match(await run(node, "readlink /proc/1/exe"), /runit$/);
      assert.match(
        await run(node, "sv status /srv/service/web /srv/service/worker"),
        /^run: .*web.*\nrun: .*worker/,
      );
      await run(
        node,
        'old=$(cat /srv/service/web/supervise/pid); kill -9 $old; while new=$(cat /srv/service/web/supervise/pid); [ "$new" = $old ] || [ -z "$new" ]; do sleep 0.1; done',
      );
      const report = await node.until("web-1", ({ ready }) => ready);
      assert.match(await fetchPage(node, report), /served by an init/);
      const { lastExit } = await stopped(node);
      assert.equal([lastExit?.code, lastExit?.reason], [0, "exited"]);
      assert.match(node.log("web-1"), /all services ended/);
    },
    { timeoutMs },
  );
});

function fail(): never {
  throw new Error("there is no report of it");
}
