import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";

import { openImages } from "@strata/agent/commands/open-images";
import { parseConfig } from "@strata/agent/config";
import type { ReadyImage } from "@strata/agent/image/image-store";
import { createLogger } from "@strata/agent/logger";
import { JoinResponse } from "@strata/protocol/agent/messages";
import { parseDigest } from "@strata/protocol/oci/digest";
import { mediaTypes } from "@strata/protocol/oci/media-type";
import { Agent } from "undici";

import { type ControllerProcess, aControllerProcess } from "../../support/controller-process.ts";
import { aCountingProxy } from "../../support/counting-proxy.ts";
import { aJoinRequest, aJoinToken } from "../../support/fake-agent.ts";
import { anImage } from "../../support/images.ts";
import { createClient, digestOf } from "../../support/registry-client.ts";
import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

const KIB = 1024;
const PAGE_BYTES = 4 * KIB;
const root = new URL("../../../", import.meta.url).pathname;

type Update = {
  readonly old: Buffer;
  readonly next: Buffer;
  /** Bytes that were written anew. */
  readonly changedBytes: number;
};

/** Packs a folder as builders on Debian do. */
function pack(folder: string): Buffer {
  const tar = execFileSync(
    "tar",
    ["--sort=name", "--mtime=@1700000000", "--owner=0", "--group=0", "-C", folder, "-cf", "-", "."],
    { maxBuffer: 256 * KIB * KIB },
  );
  return execFileSync("gzip", ["-nc"], { input: tar, maxBuffer: 256 * KIB * KIB });
}

function isSource(path: string): boolean {
  return !path.endsWith("/node_modules");
}

/** An application of a thousand source files: in one of thirty, three lines change. */
function anApplication(folder: string): Update {
  for (const name of [
    "controller/src",
    "protocol/src",
    "registry/src",
    "agent/src",
    "cli/src",
    "tests",
  ])
    cpSync(join(root, name), join(folder, name), { recursive: true, filter: isSource });
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  const old = pack(folder);
  let changedBytes = 0;
  for (const file of files.filter((_file, index) => index % 30 === 15)) {
    const lines = readFileSync(file, "utf8").split("\n");
    for (const part of [0.2, 0.5, 0.8]) {
      const line = `// ${randomBytes(20).toString("base64")}`;
      lines[Math.floor(lines.length * part)] = line;
      changedBytes += line.length + 1;
    }
    writeFileSync(file, lines.join("\n"));
  }
  return { old, next: pack(folder), changedBytes };
}

/** The programs of a base system, one of which is patched: a tenth of its pages differ. */
function aBaseSystem(folder: string): Update {
  cpSync("/usr/lib/x86_64-linux-gnu/perl-base", join(folder, "perl-base"), { recursive: true });
  mkdirSync(join(folder, "bin"));
  for (const name of ["perl", "bash", "tar", "ls", "cp", "sort", "gpgv"])
    cpSync(join("/usr/bin", name), join(folder, "bin", name), { dereference: true });
  const old = pack(folder);
  const patched = join(folder, "bin", "bash");
  const content = readFileSync(patched);
  let changedBytes = 0;
  for (let at = 0; at + PAGE_BYTES < content.length; at += 10 * PAGE_BYTES) {
    randomBytes(PAGE_BYTES).copy(content, at);
    changedBytes += PAGE_BYTES;
  }
  writeFileSync(patched, content);
  return { old, next: pack(folder), changedBytes };
}

async function push(controller: ControllerProcess, tag: string, layer: Buffer): Promise<string> {
  const config = Buffer.from(
    JSON.stringify({
      architecture: "amd64",
      os: "linux",
      config: { Cmd: ["/bin/true"] },
      rootfs: { type: "layers", diff_ids: [digestOf(gunzipSync(layer))] },
    }),
  );
  const image = anImage({ config, layers: [layer] });
  const client = createClient(controller.url);
  const login = Buffer.from(`x:${controller.adminToken()}`).toString("base64");
  const headers = { authorization: `Basic ${login}` };
  for (const blob of image.blobs) {
    const path = `/v2/app/blobs/uploads/?digest=${digestOf(blob)}`;
    assert.is((await client.send("POST", path, { headers, body: blob })).status, 201);
  }
  const manifest = await client.send("PUT", `/v2/app/manifests/${tag}`, {
    headers: { ...headers, "content-type": mediaTypes.manifest },
    body: image.manifest.bytes,
  });
  assert.is(manifest.status, 201);
  return image.manifest.digest;
}

type Node = AsyncDisposable & {
  readonly pull: (digest: string) => Promise<ReadyImage>;
  /** What came over the wire so far. */
  readonly bytes: () => number;
};

/** A node that knows no other. */
const alone = {
  onBlobChange: () => undefined,
  join: () => ({ name: "none", open: () => undefined, distrust: () => undefined }),
  heard: () => undefined,
  close: () => Promise.resolve(),
};

/** The images of a node that has joined, with the line between it and the controller watched. */
async function aNode(controller: ControllerProcess, deltas: string): Promise<Node> {
  await using undo = new AsyncDisposableStack();
  const folder = undo.use(aTemporaryDirectory());
  const proxy = undo.use(await aCountingProxy(controller.url));
  const dispatcher = new Agent();
  undo.defer(() => dispatcher.destroy());
  await controller.call("PUT", "/v1/partitions/web", { body: {} });
  const token = await aJoinToken(controller, "web");
  const joined = await controller.call("POST", "/v1/nodes/join", {
    token: token.split(".")[2] ?? "",
    body: aJoinRequest({ machineId: folder.path }),
  });
  const identity = JoinResponse.parse(joined.body);
  const images = openImages(
    { ...identity, version: 1, controllerUrl: proxy.url, address: "127.0.0.1" },
    {
      config: parseConfig({ STRATA_DATA: folder.path, STRATA_DELTAS: deltas }),
      environment: {},
      clock: Date.now,
      random: () => 0,
      newId: () => "0",
      logger: createLogger("silent"),
    },
    { dispatcher, peer: alone, inUse: () => new Set() },
  );
  const parts = undo.move();
  return {
    bytes: proxy.bytes,
    pull: (digest) =>
      images.ensure(
        { repository: "app", digest: parseDigest(digest) },
        { signal: AbortSignal.timeout(120_000) },
      ),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

/** Heads of answers, manifest and config. */
const ANSWERS_BYTES = 4 * KIB;

suite("an update of an image on a node", (test) => {
  for (const [name, make] of [
    ["an application's layer", anApplication],
    ["a patched base layer", aBaseSystem],
  ] as const) {
    test(`costs the line no more than what changed: ${name}`, async () => {
      await using folder = aTemporaryDirectory();
      await using controller = await aControllerProcess();
      const { old, next, changedBytes } = make(folder.path);
      await using node = await aNode(controller, "always");
      await node.pull(await push(controller, "1", old));
      const before = node.bytes();
      assert.ok(before > old.length, "the first comes whole");
      const image = await node.pull(await push(controller, "2", next));
      assert.is(image.layers[0]?.diffId, digestOf(gunzipSync(next)));
      const bytes = node.bytes() - before;
      const most = 1.2 * changedBytes + ANSWERS_BYTES;
      assert.ok(bytes <= most, `${bytes} bytes for ${changedBytes} of ${next.length}`);
    });
  }

  test("comes whole where deltas are off", async () => {
    await using folder = aTemporaryDirectory();
    await using controller = await aControllerProcess();
    const { old, next } = anApplication(folder.path);
    await using node = await aNode(controller, "off");
    await node.pull(await push(controller, "1", old));
    const before = node.bytes();
    await node.pull(await push(controller, "2", next));
    assert.ok(node.bytes() - before > next.length);
  });
});
