import { mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { agentPaths } from "@strata/agent/paths";
import type { Volume } from "@strata/protocol/agent/messages";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { aNode, type NodeOptions, type TestNode } from "../support/a-node.ts";
import { anAssignment } from "../support/an-assignment.ts";

type Spec = NonNullable<Parameters<typeof anAssignment>[1]>["spec"];

const data: Volume = { kind: "named", name: "data", path: "/var/lib/data", readOnly: false };

/** What a script writes inside a container of this process. */
async function outputOf(
  node: TestNode,
  script: string,
  { processId = "web-1", ...spec }: Spec & { readonly processId?: string } = {},
): Promise<string> {
  node.assign(anAssignment(`${script}; exit 0`, { processId, spec }));
  const report = await node.until(
    processId,
    ({ lastExit, problem }) => lastExit !== undefined || problem !== undefined,
  );
  assert.is(report.problem?.code, "CRASHED", report.problem?.message ?? "");
  const log = node.log(processId);
  node.assign();
  await node.untilForgotten(processId);
  return log;
}

async function problemOf(spec: Spec, options: NodeOptions = {}): Promise<string> {
  await using node = await aNode(options);
  node.assign(anAssignment("sleep 600", { spec: { stopGraceMs: 0, ...spec } }));
  const { problem } = await node.until("web-1", (report) => report.problem !== undefined);
  return `${problem?.code} ${problem?.message}`;
}

suite("a named volume", (test) => {
  test("outlives its process and looks the same to the next one, whose ids are others", async () => {
    await using node = await aNode({
      change: (layer) => mkdirSync(join(layer, "var/lib/data"), { recursive: true, mode: 0o751 }),
    });
    const before = await outputOf(
      node,
      "stat -c %u:%a . /var/lib/data; id -u; cat /proc/self/uid_map; echo one > file",
      {
        volumes: [data],
        workingDir: "/var/lib/data",
      },
    );
    assert.match(before, /^0:751\n0:751\n0\n/);
    const folder = join(agentPaths(node.config).volumes, "default/data");
    assert.is(readFileSync(join(folder, "file"), "utf8"), "one\n");
    assert.is(statSync(join(folder, "file")).uid, 0, "the disk has the container's own ids");
    const after = await outputOf(node, "cat file; stat -c %u file; cat /proc/self/uid_map", {
      processId: "web-2",
      volumes: [data],
      workingDir: "/var/lib/data",
    });
    assert.match(after, /^one\n0\n/);
    assert.is.not(lastLine(before), lastLine(after), "the second container has another range");
  });

  test("belongs to the application's user where the image has no such folder", async () => {
    await using node = await aNode();
    const output = await outputOf(
      node,
      "echo mine > /new/deep/file; stat -c %u:%g:%a /new/deep /new/deep/file",
      {
        user: "www",
        volumes: [{ ...data, path: "/new/deep" }],
      },
    );
    assert.match(output, /^33:33:755\n33:33:644\n/);
  });

  test("is another one for another tenant", async () => {
    await using node = await aNode();
    await outputOf(node, "echo secret > /var/lib/data/file", { volumes: [data], tenant: "one" });
    const output = await outputOf(node, "cat /var/lib/data/file; ls -A /var/lib/data | wc -l", {
      volumes: [data],
      tenant: "two",
    });
    assert.not.match(output, /secret/);
  });

  test("cannot be written where it was asked for read-only, and never brings devices or ids", async () => {
    await using node = await aNode();
    const output = await outputOf(
      node,
      "touch /var/lib/data/x || echo refused; grep ' /var/lib/data ' /proc/self/mounts",
      { volumes: [{ ...data, readOnly: true }] },
    );
    assert.match(output, /refused\n.* ro,nosuid,nodev/);
  });
});

suite("a folder of the node", (test) => {
  test("is shown with its ids as the container's own, and nothing mounted in it", async () => {
    await using folder = aTemporaryDirectory();
    await using node = await aNode();
    writeFileSync(join(folder.path, "file"), "of the node\n");
    const source = folder.path;
    const output = await outputOf(
      node,
      "cat /host/file; stat -c %u /host/file; echo back > /host/answer; touch /read/x || echo refused",
      {
        volumes: [
          { kind: "host", source, path: "/host", readOnly: false },
          { kind: "host", source, path: "/read", readOnly: true },
        ],
      },
    );
    assert.match(output, /^of the node\n0\n.*refused\n$/s);
    assert.is(statSync(join(source, "answer")).uid, 0);
  });

  test("may be a file", async () => {
    await using folder = aTemporaryDirectory();
    await using node = await aNode();
    const source = join(folder.path, "with space");
    writeFileSync(source, "of the node\n");
    const output = await outputOf(node, "cat '/etc/of host'", {
      volumes: [{ kind: "host", source, path: "/etc/of host", readOnly: true }],
    });
    assert.is(output.startsWith("of the node\n"), true);
  });

  test("that is not there is named, and tried again", async () => {
    const problem = await problemOf({
      volumes: [{ kind: "host", source: "/no/such/folder", path: "/host", readOnly: true }],
    });
    assert.is(problem, "VOLUME_FAILED this node has no /no/such/folder");
  });

  test("and so fails a start at once moves nobody into the groups of the process", async () => {
    const before = readFileSync("/proc/1/cgroup", "utf8");
    const volumes: Volume[] = [
      { kind: "host", source: "/no/such/folder", path: "/host", readOnly: true },
    ];
    for (let round = 0; round < 12; round += 1) await problemOf({ volumes });
    assert.is(readFileSync("/proc/1/cgroup", "utf8"), before);
  });
});

suite("a folder in memory", (test) => {
  test("has the size that was asked for and the mode of the image's folder", async () => {
    await using node = await aNode({
      change: (layer) => mkdirSync(join(layer, "cache"), { mode: 0o750 }),
    });
    const output = await outputOf(
      node,
      "stat -c %a /cache /fresh; dd if=/dev/zero of=/cache/x bs=64k count=3 2>/dev/null || echo full; grep -c 'tmpfs rw,nosuid,nodev' /proc/self/mounts",
      {
        volumes: [
          { kind: "tmpfs", path: "/cache", sizeBytes: 128 * 1024 },
          { kind: "tmpfs", path: "/fresh", sizeBytes: 4096 },
        ],
      },
    );
    assert.match(output, /^750\n1777\nfull\n[2-9]\n/);
  });

  test("may lie in a volume, whatever the order in which they were asked for", async () => {
    await using node = await aNode();
    const output = await outputOf(node, "stat -f -c %T /var/lib/data/tmp; ls -A /var/lib/data", {
      volumes: [{ kind: "tmpfs", path: "/var/lib/data/tmp", sizeBytes: 4096 }, data],
    });
    assert.match(output, /^tmpfs\ntmp\n/);
  });
});

suite("a mount point that means harm", (test) => {
  test("a link of the image leads nowhere but within the container", async () => {
    await using folder = aTemporaryDirectory();
    await using node = await aNode({
      change: (layer) => {
        mkdirSync(join(layer, folder.path), { recursive: true });
        symlinkSync(folder.path, join(layer, "away"));
        symlinkSync("../../../../../../../../..", join(layer, "up"));
      },
    });
    const output = await outputOf(node, `ls -d ${folder.path}/sub /tmp/other`, {
      volumes: [
        { ...data, path: "/away/sub" },
        { kind: "tmpfs", path: "/up/tmp/other", sizeBytes: 4096 },
      ],
    });
    assert.is(output.split("\n").slice(0, 2).sort().join(), `/tmp/other,${folder.path}/sub`);
    assert.is(statSync(join(folder.path, "sub"), { throwIfNoEntry: false }), undefined);
  });

  test("a link to the root does not put a volume in the image's place", async () => {
    const problem = await problemOf(
      { volumes: [{ ...data, path: "/away" }] },
      { change: (layer) => symlinkSync("/", join(layer, "away")) },
    );
    assert.is(problem, "VOLUME_FAILED /away is the root of the container");
  });

  test("links in a volume that another container writes lead nowhere either", async () => {
    await using node = await aNode();
    await outputOf(node, "ln -s ../../../../../../../../tmp /var/lib/data/evil", {
      volumes: [data],
    });
    const output = await outputOf(node, "grep ' /tmp ' /proc/self/mounts | cut -d ' ' -f 1-3", {
      volumes: [data, { kind: "tmpfs", path: "/var/lib/data/evil", sizeBytes: 4096 }],
    });
    assert.match(output, /^tmpfs \/tmp tmpfs\n/);
  });

  for (const path of ["/", "/proc/sys", "/dev", "/sys/fs", "/a/../b", "/a//b", "/a\nb"]) {
    test(`${JSON.stringify(path)} is refused for good`, async () => {
      const problem = await problemOf({ volumes: [{ ...data, path }] });
      assert.match(problem, /^CONTAINER_CONFIG_INVALID the path /);
    });
  }
});

function lastLine(text: string): string | undefined {
  return text.trim().split("\n").at(-1);
}
