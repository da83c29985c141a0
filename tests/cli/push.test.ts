import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

import { type RegistryServer, aRegistryServer } from "../support/registry-server.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";
import { aCuttingProxy } from "./support/cutting-proxy.ts";
import { blob, readImage } from "./support/image.ts";
import { writeFiles } from "./support/recipe-folder.ts";
import { type CliResult, runCli } from "./support/run-cli.ts";

const MIB = 1024 * 1024;

/** A layout with one layer of this many bytes that no compression makes less. */
async function aLayout(folder: string, bytes: number): Promise<string> {
  const source = join(folder, "source");
  const recipe = "name: team/app\ncommand: [/x]\nfiles: [{ to: /x, from: x }]\n";
  writeFiles(source, { "cartridge.yaml": recipe });
  writeFileSync(join(source, "x"), randomBytes(bytes));
  const layout = join(folder, "layout");
  const { status, stderr } = await runCli(["cartridge", "build", source, "-o", layout]);
  if (status !== 0) throw new Error(stderr);
  return layout;
}

async function push(url: string, ...args: readonly string[]): Promise<CliResult> {
  return runCli(["cartridge", "push", ...args], { env: { STRATA_URL: url, STRATA_TOKEN: "t" } });
}

/** Not in sync: the server that skopeo asks is in this process. */
async function digestInStore({ host }: RegistryServer, name: string): Promise<string> {
  const image = `docker://${host}/${name}`;
  const args = ["inspect", "--tls-verify=false", "--format", "{{.Digest}}", image];
  return (await promisify(execFile)("skopeo", args)).stdout.trim();
}

suite("cartridge push", (test) => {
  test("brings an image to the store, where others find it", async () => {
    await using folder = aTemporaryDirectory();
    await using server = await aRegistryServer();
    const layout = await aLayout(folder.path, 1000);
    const { status, stdout, stderr } = await push(server.url, layout);
    assert.is(status, 0, stderr);
    const { digest } = readImage(layout);
    assert.is(stdout, `team/app:latest ${digest}\n`);
    assert.is(await digestInStore(server, "team/app:latest"), digest);
  });

  test("sends nothing that is there, and nothing that another repository has", async () => {
    await using folder = aTemporaryDirectory();
    await using server = await aRegistryServer();
    const layout = await aLayout(folder.path, 1000);
    await push(server.url, layout);
    const again = await push(server.url, layout);
    assert.is(again.stderr.match(/is there already/g)?.length, 2);
    const elsewhere = await push(server.url, layout, "-t", "other:2");
    assert.is(elsewhere.stderr.match(/taken from another repository/g)?.length, 2);
    assert.is(await digestInStore(server, "other:2"), readImage(layout).digest);
  });

  test("resumes where a connection broke, and sends no byte twice but the last ones", async () => {
    await using folder = aTemporaryDirectory();
    await using server = await aRegistryServer({ folder: join(folder.path, "store") });
    const layout = await aLayout(folder.path, 24 * MIB);
    const cuts = 2;
    const port = Number(new URL(server.url).port);
    await using proxy = await aCuttingProxy(port, { cuts, afterBytes: 9 * MIB });
    const { status, stderr } = await push(proxy.url, layout);
    assert.is(status, 0, stderr);
    assert.is(await digestInStore(server, "team/app:latest"), readImage(layout).digest);
    // What was on its way when it broke is sent again: a few buffers, not the 24 MiB twice.
    assert.ok(proxy.sentBytes() < 40 * MIB, `${proxy.sentBytes()} bytes`);
  });

  test("gives up after a bounded number of attempts, and says why", async () => {
    await using folder = aTemporaryDirectory();
    await using server = await aRegistryServer();
    const layout = await aLayout(folder.path, 4 * MIB);
    const port = Number(new URL(server.url).port);
    await using proxy = await aCuttingProxy(port, { cuts: 1000, afterBytes: 20_000 });
    const { status, stderr } = await push(proxy.url, layout);
    assert.is(status, 3);
    assert.match(stderr, `error: the store at ${proxy.url} did not answer`);
  });

  test("does not begin with a layout that misses a blob or holds a damaged manifest", async () => {
    await using folder = aTemporaryDirectory();
    await using server = await aRegistryServer();
    const layout = await aLayout(folder.path, 1000);
    const { manifest, digest } = readImage(layout);
    truncateSync(blob(layout, manifest.layers[0]?.digest ?? digest), 10);
    const cut = await push(server.url, layout);
    assert.is(cut.status, 2);
    assert.match(cut.stderr, /blob sha256:\w+ of .* is 10 bytes instead of/);
    writeFileSync(blob(layout, digest), "{}".padEnd(manifest.config.size, " "));
    const damaged = await push(server.url, layout);
    assert.is(damaged.status, 2);
    assert.match(damaged.stderr, /manifest sha256:\w+ is damaged/);
    rmSync(join(layout, "oci-layout"));
    assert.match((await push(server.url, layout)).stderr, "is not an OCI image layout");
  });

  test("shows a blob whose bytes are not its digest as the store refuses it", async () => {
    await using folder = aTemporaryDirectory();
    await using server = await aRegistryServer();
    const layout = await aLayout(folder.path, 1000);
    const { manifest, digest } = readImage(layout);
    const layer = manifest.layers[0];
    writeFileSync(blob(layout, layer?.digest ?? digest), Buffer.alloc(layer?.size ?? 0));
    const { status, stderr } = await push(server.url, layout);
    assert.is(status, 1);
    assert.match(stderr, "DIGEST_INVALID");
  });

  test("shows what a token may not do", async () => {
    await using folder = aTemporaryDirectory();
    await using server = await aRegistryServer({
      authorize: ({ action }) =>
        action === "push" ? { kind: "denied" } : { kind: "allowed", subject: "x" },
    });
    const { status, stderr } = await push(server.url, await aLayout(folder.path, 10));
    assert.is(status, 1);
    assert.match(stderr, "DENIED");
    assert.match(stderr, "hint: the token may not do this");
  });

  test("lists repositories and tags", async () => {
    await using folder = aTemporaryDirectory();
    await using server = await aRegistryServer();
    const layout = await aLayout(folder.path, 10);
    await push(server.url, layout, "-t", "b:1");
    await push(server.url, layout, "-t", "b:2");
    await push(server.url, layout, "-t", "a");
    const env = { STRATA_URL: server.url };
    const { stdout } = await runCli(["cartridge", "ls"], { env });
    assert.is(stdout, "REPOSITORY  TAGS\na           latest\nb           1, 2\n");
  });
});
