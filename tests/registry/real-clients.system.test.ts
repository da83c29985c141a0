/** skopeo, podman and buildah of the distribution, against our store. Each with storage of its own. */
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";

import { mediaTypes } from "@strata/protocol/oci/media-type";
import type { Authorize } from "@strata/registry/authorize";

import { missingPrograms } from "../support/installed.ts";
import { createClient, digestOf, randomBlob } from "../support/registry-client.ts";
import { aRegistryServer, type RegistryServer } from "../support/registry-server.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const run = promisify(execFile);
const slow = { timeoutMs: 240_000 };
const insecure = "--tls-verify=false";

/** A server with files, and a folder for the clients. */
type Scene = AsyncDisposable & { readonly server: RegistryServer; readonly folder: string };

async function aScene(authorize?: Authorize): Promise<Scene> {
  const folder = aTemporaryDirectory();
  const store = join(folder.path, "store");
  const server = await aRegistryServer({
    folder: store,
    ...(authorize === undefined ? {} : { authorize }),
  });
  return {
    server,
    folder: folder.path,
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Runs podman or buildah with storage of its own by this name. The vfs driver mounts nothing. */
async function client(
  { folder }: Scene,
  [program, storage]: readonly ["podman" | "buildah", string],
  args: readonly string[],
): Promise<string> {
  const at = (part: string): string => join(folder, storage, part);
  const options = ["--root", at("root"), "--runroot", at("run"), "--storage-driver", "vfs"];
  const manager =
    program === "podman" ? ["--cgroup-manager=cgroupfs", "--events-backend=none"] : [];
  const { stdout } = await run(program, [...options, ...manager, ...args]);
  return stdout.trim();
}

async function skopeo(args: readonly string[]): Promise<string> {
  return (await run("skopeo", [...args])).stdout;
}

/** Builds an image called `built` in the storage "build"; gives the content of its one file. */
async function buildImage(scene: Scene, format: "oci" | "docker"): Promise<Buffer> {
  const content = randomBlob(200_000);
  const context = join(scene.folder, "context");
  mkdirSync(join(context, "rootfs"), { recursive: true });
  writeFileSync(join(context, "rootfs", "content"), content);
  writeFileSync(join(context, "Containerfile"), `FROM scratch\nCOPY rootfs /\nCMD ["/content"]\n`);
  const flags = ["--isolation", "chroot", "--format", format, "-t", "built"];
  await client(scene, ["buildah", "build"], ["bud", ...flags, context]);
  return content;
}

function reference({ server }: Scene, name: string): string {
  return `docker://${server.host}/${name}`;
}

/** Pulls with podman into fresh storage, and reads the image's one file. */
async function readByPodman(scene: Scene, name: string): Promise<Buffer> {
  const image = `${scene.server.host}/${name}`;
  await client(scene, ["podman", `pull-${name}`], ["pull", insecure, image]);
  const path = await client(scene, ["podman", `pull-${name}`], ["image", "mount", image]);
  try {
    return readFileSync(join(path, "content"));
  } finally {
    await client(scene, ["podman", `pull-${name}`], ["image", "unmount", image]);
  }
}

async function expectType(scene: Scene, path: string, mediaType: string): Promise<void> {
  const answer = await createClient(scene.server.url).send("GET", `/v2/${path}`);
  assert.equal([answer.status, answer.headers["content-type"]], [200, mediaType]);
  assert.is(answer.headers["docker-content-digest"], digestOf(answer.body));
}

const missing = missingPrograms(["skopeo", "podman", "buildah"]);

suite("real clients", (test) => {
  if (missing.length > 0 || process.getuid?.() !== 0) {
    test.skip(
      "push and pull",
      `needs root, skopeo, podman and buildah (missing: ${missing.join(", ")})`,
    );
    return;
  }

  for (const [format, mediaType] of [
    ["oci", mediaTypes.manifest],
    ["docker", mediaTypes.dockerManifest],
  ] as const) {
    test(
      `buildah pushes an image of format ${format}, podman pulls it`,
      async () => {
        await using scene = await aScene();
        const content = await buildImage(scene, format);
        await client(
          scene,
          ["buildah", "build"],
          ["push", insecure, "built", reference(scene, "built:1")],
        );
        await expectType(scene, "built/manifests/1", mediaType);
        assert.ok((await readByPodman(scene, "built:1")).equals(content));
        assert.equal(scene.server.faults, []);
      },
      slow,
    );
  }

  for (const compression of ["gzip", "zstd", "zstd:chunked"]) {
    test(
      `podman pushes with ${compression}, skopeo copies to another repository, podman pulls that`,
      async () => {
        await using scene = await aScene();
        const content = await buildImage(scene, "oci");
        const push = ["push", insecure, "--compression-format", compression];
        await client(
          scene,
          ["podman", "build"],
          [...push, "built", `${scene.server.host}/team/one:1`],
        );
        const [from, to] = [reference(scene, "team/one:1"), reference(scene, "two:2")];
        await skopeo(["copy", "--src-tls-verify=false", "--dest-tls-verify=false", from, to]);
        assert.ok((await readByPodman(scene, "two:2")).equals(content));
        assert.match(await skopeo(["inspect", insecure, to]), /"RepoTags": \[\s*"2"/);
        assert.equal(scene.server.faults, []);
      },
      slow,
    );
  }

  test(
    "skopeo copies a multi-platform index whole, lists tags and deletes",
    async () => {
      await using scene = await aScene();
      await buildImage(scene, "oci");
      await client(scene, ["buildah", "build"], ["manifest", "create", "list", "built"]);
      const push = [
        "manifest",
        "push",
        "--all",
        "--format",
        "oci",
        insecure,
        "list",
        reference(scene, "list:1"),
      ];
      await client(scene, ["buildah", "build"], push);
      const copy = ["copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"];
      await skopeo([...copy, reference(scene, "list:1"), reference(scene, "copy:a")]);
      await expectType(scene, "copy/manifests/a", mediaTypes.index);
      assert.match(await skopeo(["list-tags", insecure, reference(scene, "copy")]), /"a"/);
      await skopeo(["delete", insecure, reference(scene, "copy:a")]);
      assert.not.match(await skopeo(["list-tags", insecure, reference(scene, "copy")]), /"a"/);
      assert.equal(scene.server.faults, []);
    },
    slow,
  );

  test(
    "skopeo logs in by Basic where it is challenged, and is refused without",
    async () => {
      const expected = `Basic ${Buffer.from("token:secret").toString("base64")}`;
      await using scene = await aScene(({ authorization }) =>
        authorization === expected
          ? { kind: "allowed", subject: "token" }
          : { kind: "challenge", wwwAuthenticate: `Basic realm="strata"` },
      );
      await buildImage(scene, "oci");
      const push = ["push", insecure, "built", reference(scene, "private:1")];
      const refused = await client(scene, ["buildah", "build"], push).catch(() => "refused");
      assert.is(refused, "refused");
      await client(
        scene,
        ["buildah", "build"],
        ["push", "--creds", "token:secret", ...push.slice(1)],
      );
      const inspect = [
        "inspect",
        insecure,
        "--creds",
        "token:secret",
        reference(scene, "private:1"),
      ];
      assert.match(await skopeo(inspect), /"Digest": "sha256:/);
    },
    slow,
  );
});
