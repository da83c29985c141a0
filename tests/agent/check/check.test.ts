import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { z } from "zod";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

const main = fileURLToPath(new URL("../../../agent/src/main.ts", import.meta.url));

const Answer = z.object({
  fit: z.boolean(),
  findings: z.array(
    z.object({
      name: z.string(),
      level: z.enum(["required", "optional"]),
      what: z.string(),
      remedy: z.string(),
      met: z.boolean(),
      detail: z.string().optional(),
    }),
  ),
});
type Answer = z.infer<typeof Answer>;

type Machine = {
  /** Shell that changes the machine, in a mount namespace that ends with the check. */
  readonly change?: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** What runs the agent. */
  readonly through?: string;
};

type Outcome = { readonly status: number | null; readonly stdout: string; readonly stderr: string };

/** The real program on this machine, as the change left it. */
function runAgent(argv: string, { change = "true", environment, through = "" }: Machine): Outcome {
  const script = `set -e; ${change}; exec ${through} "$0" "$1" ${argv}`;
  const { status, stdout, stderr } = spawnSync(
    "unshare",
    ["--mount", "--propagation", "private", "sh", "-c", script, process.execPath, main],
    {
      encoding: "utf8",
      env: { PATH: process.env["PATH"], STRATA_LOG_LEVEL: "silent", ...environment },
    },
  );
  return { status, stdout, stderr };
}

function check(machine: Machine = {}): Answer & { readonly status: number | null } {
  const { status, stdout, stderr } = runAgent("check --json", machine);
  assert.is(stderr, "");
  return { ...Answer.parse(JSON.parse(stdout)), status };
}

function missing({ findings }: Answer): readonly string[] {
  return findings.flatMap(({ name, level, met }) => (level === "required" && !met ? [name] : []));
}

function find({ findings }: Answer, name: string): Answer["findings"][number] | undefined {
  return findings.find((finding) => finding.name === name);
}

/** The file says something else in this machine. */
async function withFile<T>(text: string, path: string, use: (change: string) => T): Promise<T> {
  await using folder = aTemporaryDirectory();
  const file = join(folder.path, "file");
  writeFileSync(file, text);
  return use(`mount --bind ${file} ${path}`);
}

suite("strata-agent check", (test) => {
  test("finds nothing missing on a machine that runs containers", () => {
    const answer = check();
    assert.equal([answer.fit, answer.status, missing(answer)], [true, 0, []]);
    assert.match(runAgent("check", {}).stdout, /this machine can run containers\n$/);
  });

  test("says which program is missing and which package has it", () => {
    const change = "mount --bind /dev/null /usr/sbin/nft";
    const answer = check({ change });
    assert.equal([answer.fit, answer.status], [false, 1]);
    assert.ok(missing(answer).includes("nft"));
    const { stdout, status } = runAgent("check", { change });
    assert.is(status, 1);
    assert.match(stdout, /^missing: \/usr\/sbin\/nft .*: apt-get install nftables$/m);
    assert.not.match(stdout, /can run containers/);
  });

  test("says that an LXC is too old", async () => {
    const old = "#!/bin/sh\necho 4.0.12\n";
    const answer = await withFile(old, "/usr/bin/lxc-execute", (bind) =>
      check({ change: `${bind}; chmod 755 /usr/bin/lxc-execute` }),
    );
    assert.equal(missing(answer), ["lxc-version"]);
    assert.is(find(answer, "lxc-version")?.detail, "this is 4.0.12");
  });

  test("says that no cgroups are mounted", () => {
    const answer = check({ change: "umount -R /sys/fs/cgroup" });
    assert.equal(missing(answer), ["cgroups"]);
  });

  test("says that user namespaces are switched off", async () => {
    const answer = await withFile("0\n", "/proc/sys/user/max_user_namespaces", (change) =>
      check({ change }),
    );
    assert.equal(missing(answer), ["user-namespaces"]);
  });

  test("says that the kernel is too old", async () => {
    const answer = await withFile("5.10.0-21-amd64\n", "/proc/sys/kernel/osrelease", (change) =>
      check({ change }),
    );
    assert.equal(missing(answer), ["kernel"]);
  });

  test("says who has ids that containers are to get", async () => {
    const change = await withFile("alice:1073800000:65536\n", "/etc/subuid", (bind) => {
      const answer = check({ change: bind });
      assert.equal(missing(answer), ["ids"]);
      assert.match(find(answer, "ids")?.detail ?? "", /^alice in \/etc\/subuid has 1073800000 to /);
      return check({ change: bind, environment: { STRATA_ID_BASE: "2147483648" } });
    });
    assert.equal(missing(change), []);
  });

  test("tries whether the data's file system can map ids", () => {
    // procfs cannot, and has a folder that is there.
    const answer = check({ environment: { STRATA_DATA: "/proc/sys", STRATA_RUN: "/tmp" } });
    assert.equal(missing(answer), ["id-mapped-mounts"]);
    assert.match(find(answer, "id-mapped-mounts")?.detail ?? "", /mount_setattr/);
  });

  test("tries an overlay, for a kernel that can load it lists it as little as one that cannot", () => {
    const answer = check({ change: "mount --bind /dev/null /usr/bin/mount" });
    assert.equal(missing(answer), ["overlay"]);
  });

  test("tells root's lack as such", () => {
    const answer = check({ through: "setpriv --reuid 65534 --regid 65534 --clear-groups" });
    assert.is(missing(answer)[0], "root");
  });

  test("names what is optional without calling the machine unfit", () => {
    // Its list of profiles is there, if anywhere.
    const change = "mount -t tmpfs none /sys/kernel/security || true";
    const answer = check({ change });
    assert.is(answer.fit, true);
    assert.is(find(answer, "apparmor")?.met, false);
    assert.match(runAgent("check", { change }).stdout, /^optional: AppArmor with LXC's profile: /m);
  });
});

suite("strata-agent join", (test) => {
  test("says what the machine lacks before it asks the controller", async () => {
    await using folder = aTemporaryDirectory();
    const token = join(folder.path, "token");
    writeFileSync(token, `anything.${"a".repeat(64)}`);
    const { status, stderr } = runAgent(
      `join --controller https://127.0.0.1:1 --token-file ${token}`,
      {
        change: "mount --bind /dev/null /usr/sbin/nft",
        environment: { STRATA_DATA: join(folder.path, "data") },
      },
    );
    assert.is(status, 1);
    assert.match(stderr, /missing: \/usr\/sbin\/nft .*apt-get install nftables/);
    assert.match(stderr, /HOST_UNFIT/);
  });
});
