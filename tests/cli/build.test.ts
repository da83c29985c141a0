import { execFileSync } from "node:child_process";
import {
  chmodSync,
  linkSync,
  mkdirSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";
import { readImage } from "./support/image.ts";
import { writeFiles } from "./support/recipe-folder.ts";
import { type CliResult, runCli } from "./support/run-cli.ts";

const recipe = `
name: team/app
description: An example
files:
  - { to: /srv/site, from: site, owner: "1000:1000" }
  - { to: /bin/tool, from: tool.sh, mode: "0755" }
  - { to: /etc/motd, text: "hello\\n" }
  - { to: /bin/sh, link: tool }
  - { to: /var/empty, mode: "0700" }
command: [/bin/tool]
args: [--fast]
env: { COLOR: blue }
user: "1000"
workingDir: /srv
ports: [8080, 53/udp]
health: { port: 8080, interval: 500ms }
startup: { kind: tcp, port: 8080, failureThreshold: 60 }
liveness: { kind: exec, command: [/bin/tool, --check], interval: 1m }
stopSignal: SIGINT
labels: { team: a }
`;

function writeSource(folder: string): string {
  const source = join(folder, "source");
  writeFiles(source, {
    "cartridge.yaml": recipe,
    "tool.sh": "#!/bin/sh\n",
    "site/index.html": "<p>hi</p>\n",
    "site/deep/a.txt": "a",
  });
  return source;
}

async function build(folder: string, ...args: readonly string[]): Promise<CliResult> {
  const env = { XDG_CACHE_HOME: join(folder, "cache") };
  const result = await runCli(["cartridge", "build", ...args], { env });
  if (result.status !== 0) throw new Error(result.stderr);
  return result;
}

suite("cartridge build", (test) => {
  test("makes the image that the recipe describes", async () => {
    await using folder = aTemporaryDirectory();
    const layout = join(folder.path, "layout");
    const { stdout } = await build(folder.path, writeSource(folder.path), "-o", layout);
    const image = readImage(layout);
    assert.match(stdout, `team/app:latest ${image.digest} (1 layer, `);
    assert.equal(image.layers, [
      [
        "drwxr-xr-x 0/0 0 bin/",
        "lrwxrwxrwx 0/0 0 bin/sh -> tool",
        "-rwxr-xr-x 0/0 10 bin/tool",
        "drwxr-xr-x 0/0 0 dev/",
        "drwxr-xr-x 0/0 0 etc/",
        "-rw-r--r-- 0/0 6 etc/motd",
        "drwxr-xr-x 0/0 0 proc/",
        "drwxr-xr-x 0/0 0 run/",
        "drwxr-xr-x 0/0 0 srv/",
        "drwxr-xr-x 1000/1000 0 srv/site/",
        "drwxr-xr-x 1000/1000 0 srv/site/deep/",
        "-rw-r--r-- 1000/1000 1 srv/site/deep/a.txt",
        "-rw-r--r-- 1000/1000 10 srv/site/index.html",
        "drwxr-xr-x 0/0 0 sys/",
        "drwxrwxrwt 0/0 0 tmp/",
        "drwxr-xr-x 0/0 0 var/",
        "drwx------ 0/0 0 var/empty/",
      ],
    ]);
    assert.equal(image.config.config, {
      User: "1000",
      ExposedPorts: { "53/udp": {}, "8080/tcp": {} },
      Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "COLOR=blue"],
      Entrypoint: ["/bin/tool"],
      Cmd: ["--fast"],
      WorkingDir: "/srv",
      Labels: {
        "io.strata.health":
          '{"kind":"http","port":8080,"path":"/","failureThreshold":3,"interval":"500ms","timeout":"1000ms"}',
        "io.strata.liveness":
          '{"kind":"exec","command":["/bin/tool","--check"],"failureThreshold":3,"interval":"60000ms","timeout":"5000ms"}',
        "io.strata.startup":
          '{"kind":"tcp","port":8080,"failureThreshold":60,"interval":"2000ms","timeout":"1000ms"}',
        "org.opencontainers.image.description": "An example",
        "org.opencontainers.image.title": "team/app",
        team: "a",
      },
      StopSignal: "SIGINT",
    });
  });

  test("gives the same digest for the same source, whenever and wherever it is built", async () => {
    await using one = aTemporaryDirectory();
    await using other = aTemporaryDirectory();
    const first = await build(one.path, "-q", writeSource(one.path), "-o", join(one.path, "l"));
    const source = writeSource(other.path);
    utimesSync(join(source, "site/index.html"), 1_700_000_000, 1_700_000_000);
    const second = await build(other.path, "-q", source, "-o", join(other.path, "l"));
    assert.is(second.stdout, first.stdout);
    assert.match(first.stdout, /^sha256:[a-f0-9]{64}\n$/);
  });

  test("gives another digest for another byte, another mode and another time", async () => {
    await using folder = aTemporaryDirectory();
    const source = writeSource(folder.path);
    const digestOf = async (env: Readonly<Record<string, string>> = {}): Promise<string> => {
      const args = ["cartridge", "build", "-q", source, "-o", join(folder.path, "l")];
      return (await runCli(args, { env: { XDG_CACHE_HOME: folder.path, ...env } })).stdout;
    };
    const digests = [await digestOf()];
    digests.push(await digestOf({ SOURCE_DATE_EPOCH: "86400" }));
    writeFileSync(join(source, "site/index.html"), "<p>ho</p>\n");
    digests.push(await digestOf());
    chmodSync(join(source, "site/index.html"), 0o600);
    digests.push(await digestOf());
    assert.is(new Set(digests).size, 4);
  });

  for (const compression of ["gzip", "zstd", "none"]) {
    test(`writes a layout with ${compression} layers that skopeo reads`, async () => {
      await using folder = aTemporaryDirectory();
      const layout = join(folder.path, "layout");
      const args = [writeSource(folder.path), "-o", layout, "--compression", compression];
      await build(folder.path, ...args, "-t", "app:1");
      const inspected: unknown = JSON.parse(
        execFileSync("skopeo", ["inspect", `oci:${layout}:1`], { encoding: "utf8" }),
      );
      assert.is(Object(inspected).Digest, readImage(layout).digest);
      const copied = join(folder.path, "copied");
      // Checks every digest, and every diffId on the way through gzip.
      execFileSync("skopeo", ["copy", "-q", `oci:${layout}:1`, `dir:${copied}`]);
    });
  }

  test("writes a layout that umoci unpacks to the files that went in", async () => {
    await using folder = aTemporaryDirectory();
    const layout = join(folder.path, "layout");
    await build(folder.path, writeSource(folder.path), "-o", layout, "-t", "app:1");
    const bundle = join(folder.path, "bundle");
    execFileSync("umoci", ["unpack", "--image", `${layout}:1`, bundle], { stdio: "ignore" });
    const stats = statSync(join(bundle, "rootfs/srv/site/index.html"));
    assert.equal([stats.uid, stats.size, stats.mtimeMs], [1000, 10, 0]);
  });

  test("writes one file that skopeo reads, the same one each time", async () => {
    await using folder = aTemporaryDirectory();
    const source = writeSource(folder.path);
    const files = ["a.tar", "b.tar"].map((name) => join(folder.path, name));
    for (const file of files) await build(folder.path, source, "-o", file);
    const [a = "", b = ""] = files;
    execFileSync("skopeo", ["inspect", `oci-archive:${a}:latest`], { stdio: "ignore" });
    execFileSync("cmp", [a, b]);
  });

  test("keeps hard links, modes without any right, and long and strange names", async () => {
    await using folder = aTemporaryDirectory();
    const root = join(folder.path, "root");
    mkdirSync(join(root, "etc"), { recursive: true });
    const long = "n".repeat(200);
    writeFiles(root, { "etc/a": "same", [`etc/${long}`]: "x", "etc/ünïcödé \n": "y" });
    linkSync(join(root, "etc/a"), join(root, "etc/b"));
    symlinkSync("/not/there", join(root, "etc/link"));
    chmodSync(join(root, `etc/${long}`), 0);
    const layout = join(folder.path, "layout");
    await build(folder.path, root, "-o", layout);
    const [lines = []] = readImage(layout).layers;
    assert.ok(lines.includes("hrw-r--r-- 0/0 0 etc/b link to etc/a"), lines.join("\n"));
    assert.ok(lines.includes(`---------- 0/0 1 etc/${long}`), lines.join("\n"));
    assert.ok(lines.includes("lrwxrwxrwx 0/0 0 etc/link -> /not/there"));
    assert.ok(
      lines.some((line) => line.includes("etc/\\303\\274n\\303\\257c\\303\\266d\\303\\251 \\n")),
    );
  });

  test("does not replace a folder that is no layout, and leaves nothing beside it", async () => {
    await using folder = aTemporaryDirectory();
    const target = join(folder.path, "mine");
    writeFiles(target, { "precious.txt": "x" });
    const source = writeSource(folder.path);
    const { status, stderr } = await runCli(["cartridge", "build", source, "-o", target], {});
    assert.is(status, 2);
    assert.match(stderr, "holds something that is not an OCI layout");
    assert.equal(execFileSync("ls", ["-A", folder.path], { encoding: "utf8" }), "mine\nsource\n");
  });

  test("replaces a layout that it wrote before", async () => {
    await using folder = aTemporaryDirectory();
    const source = writeSource(folder.path);
    const layout = join(folder.path, "layout");
    await build(folder.path, source, "-o", layout);
    writeFiles(source, { "site/index.html": "new" });
    const { stdout } = await build(folder.path, "-q", source, "-o", layout);
    assert.is(readImage(layout).digest, stdout.trim());
  });

  test("says where a build can go when it is told nowhere", async () => {
    await using folder = aTemporaryDirectory();
    const { status, stderr } = await runCli(["cartridge", "build", writeSource(folder.path)]);
    assert.is(status, 2);
    assert.match(stderr, "hint: add -o LAYOUT, -o IMAGE.tar or --push");
  });
});
