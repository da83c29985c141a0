/** What clients ask beyond whole images: parts of zstd:chunked layers, artifacts with a subject, images of a mirror. */
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";

import { mediaTypes } from "@strata/protocol/oci/media-type";

import { aDockerRegistry, aRelay } from "../support/docker-registry.ts";
import { anImage, describeManifest } from "../support/images.ts";
import { missingPrograms } from "../support/installed.ts";
import { aRule, pushTo } from "../support/mirror-scene.ts";
import { createClient, digestOf, randomBlob } from "../support/registry-client.ts";
import { aRegistryServer } from "../support/registry-server.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const run = promisify(execFile);
const slow = { timeoutMs: 300_000 };
const insecure = "--tls-verify=false";
const FILES = 24;

/** Runs podman or buildah with storage of its own in the folder. */
async function client(
  folder: string,
  program: "podman" | "buildah",
  args: readonly string[],
): Promise<string> {
  const at = (part: string): string => join(folder, part);
  const storage = ["--root", at("root"), "--runroot", at("run"), "--storage-driver", "vfs"];
  const manager =
    program === "podman" ? ["--cgroup-manager=cgroupfs", "--events-backend=none"] : [];
  const { stdout } = await run(program, [...storage, ...manager, ...args]);
  return stdout.trim();
}

/** An image of one layer with many files; those at even places are new each time. */
async function build(folder: string, image: string, kept: Buffer): Promise<readonly Buffer[]> {
  const context = join(folder, `context-${image}`);
  mkdirSync(join(context, "rootfs"), { recursive: true });
  const files = Array.from({ length: FILES }, (_, index) =>
    index % 2 === 0 ? randomBlob(20_000) : Buffer.concat([kept, Buffer.from([index])]),
  );
  for (const [index, bytes] of files.entries()) {
    writeFileSync(join(context, "rootfs", `file-${String(index).padStart(2, "0")}`), bytes);
  }
  writeFileSync(join(context, "Containerfile"), "FROM scratch\nCOPY rootfs /\n");
  await client(folder, "buildah", ["bud", "--isolation", "chroot", "-t", image, context]);
  return files;
}

async function pushChunked(folder: string, image: string, to: string): Promise<void> {
  const push = ["push", insecure, "--compression-format", "zstd:chunked"];
  await client(folder, "podman", [...push, image, to]);
}

suite("clients that ask for more", (test) => {
  const missing = missingPrograms(["skopeo", "podman", "buildah", "docker-registry"]);
  if (missing.length > 0 || process.getuid?.() !== 0) {
    test.skip("parts, artifacts, mirrors", `needs root and ${missing.join(", ")}`);
    return;
  }

  test(
    "podman pulls the parts of a zstd:chunked layer that it has not",
    async () => {
      await using folder = aTemporaryDirectory();
      await using server = await aRegistryServer({ folder: join(folder.path, "store") });
      await using relay = await aRelay(server.url);
      const kept = randomBlob(20_000);
      const { host } = new URL(relay.url);
      await build(folder.path, "one", kept);
      const files = await build(folder.path, "two", kept);
      for (const image of ["one", "two"]) {
        await pushChunked(folder.path, image, `${server.host}/app:${image}`);
      }
      const puller = join(folder.path, "puller");
      const configuration = join(folder.path, "storage.conf");
      writeFileSync(
        configuration,
        `[storage]
driver = "overlay"
graphroot = "${puller}/root"
runroot = "${puller}/run"
[storage.options]
pull_options = { enable_partial_images = "true", use_hard_links = "false", ostree_repos = "" }
`,
      );
      const env = { ...process.env, CONTAINERS_STORAGE_CONF: configuration };
      const podman = async (...args: readonly string[]): Promise<string> => {
        const options = ["--cgroup-manager=cgroupfs", "--events-backend=none"];
        return (await run("podman", [...options, ...args], { env })).stdout.trim();
      };
      await podman("pull", insecure, `${host}/app:one`);
      relay.requests.length = 0;
      await podman("pull", insecure, `${host}/app:two`);
      const parts = relay.requests.filter((line) => /blobs\/\S+ bytes=\d+-\d+,\d+-\d+/.test(line));
      assert.ok(parts.length > 0, relay.requests.join("\n"));
      const mount = await podman("image", "mount", `${host}/app:two`);
      try {
        for (const [index, bytes] of files.entries()) {
          const name = `file-${String(index).padStart(2, "0")}`;
          assert.ok(readFileSync(join(mount, name)).equals(bytes), name);
        }
      } finally {
        await podman("image", "unmount", "--all");
        await podman("image", "rm", "--all", "--force");
      }
      assert.equal(server.faults, []);
    },
    slow,
  );

  test(
    "skopeo copies an artifact with a subject, which then refers to it there too",
    async () => {
      await using folder = aTemporaryDirectory();
      await using server = await aRegistryServer({ folder: join(folder.path, "store") });
      const direct = createClient(server.url);
      const image = anImage();
      await pushTo(direct, ["from", "image"], image);
      const subject = describeManifest(image.manifest);
      const artifact = anImage({ fields: { subject, artifactType: "test/statement" } });
      await pushTo(direct, ["from", "statement"], artifact);
      const flags = ["--src-tls-verify=false", "--dest-tls-verify=false", "--preserve-digests"];
      for (const tag of ["image", "statement"]) {
        const [from, to] = ["from", "to"].map((name) => `docker://${server.host}/${name}:${tag}`);
        await run("skopeo", ["copy", ...flags, from ?? "", to ?? ""]);
      }
      const answer = await direct.send("GET", `/v2/to/referrers/${image.manifest.digest}`);
      assert.is(answer.headers["content-type"], mediaTypes.index);
      assert.match(answer.body.toString(), artifact.manifest.digest);
      assert.equal(server.faults, []);
    },
    slow,
  );

  test(
    "skopeo and podman pull an image of several platforms through a mirror, and again without it",
    async () => {
      await using folder = aTemporaryDirectory();
      const { path } = folder;
      await using upstream = await aDockerRegistry({ folder: join(path, "upstream") });
      await using server = await aRegistryServer({
        folder: join(path, "store"),
        mirrors: [aRule({ upstream: upstream.url })],
      });
      const files = await build(path, "built", randomBlob(1_000));
      await client(path, "buildah", ["manifest", "create", "list", "built"]);
      const to = `docker://${new URL(upstream.url).host}/team/list:1`;
      const push = ["manifest", "push", "--all", "--format", "oci", insecure, "list", to];
      await client(path, "buildah", push);
      const from = `docker://${server.host}/hub/team/list:1`;
      const copy = ["copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"];
      await run("skopeo", [...copy, from, `oci:${path}/layout:1`]);
      await upstream.kill();
      await run("skopeo", [...copy, from, `docker://${server.host}/own/list:1`]);
      const image = `${server.host}/own/list:1`;
      await client(join(path, "puller"), "podman", ["pull", insecure, image]);
      const mount = await client(join(path, "puller"), "podman", ["image", "mount", image]);
      assert.is(
        digestOf(readFileSync(join(mount, "file-00"))),
        digestOf(files[0] ?? Buffer.alloc(0)),
      );
      await client(join(path, "puller"), "podman", ["image", "unmount", image]);
      assert.equal(server.faults, []);
    },
    slow,
  );
});
