import { randomBytes } from "node:crypto";
import { statSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

import { anImage } from "../support/images.ts";
import { aLoopbackServer, type LoopbackServer } from "../support/loopback-server.ts";
import { randomBlob } from "../support/registry-client.ts";
import { aRegistryServer } from "../support/registry-server.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";
import { digestIn, putImage, runAt } from "./support/store-images.ts";

const MIB = 1024 * 1024;
const MONDAY = Date.parse("2026-03-02T00:00:00Z");
const DAY_MS = 86_400_000;

suite("bundle create --since", (test) => {
  test("leaves out what was there, and tells a changed layer by the old one", async () => {
    await using folder = aTemporaryDirectory();
    let nowMs = MONDAY;
    await using here = await aRegistryServer({ clock: () => nowMs });
    await using there = await aRegistryServer();
    const shared = randomBlob(2 * MIB);
    const text = randomBytes(MIB);
    const one = anImage({ layers: [shared, gzipSync(text)] });
    await putImage(here.url, one, { repository: "app", reference: "1" });
    await putImage(there.url, one, { repository: "app", reference: "1" });
    nowMs += DAY_MS;
    const two = anImage({ layers: [shared, gzipSync(Buffer.concat([text, Buffer.from("new")]))] });
    await putImage(here.url, two, { repository: "app", reference: "2" });

    for (const since of ["2026-03-02", "2026-03-02T12:00:00+01:00"]) {
      const file = join(folder.path, `${since}.tar`);
      const args = ["bundle", "create", "app:2", "-o", file, "--since", since];
      const made = await runAt(here.url, ...args);
      assert.is(made.status, 0, made.stderr);
      assert.match(made.stdout, "1 blobs left out, 1 layers as what changed in them");
      assert.ok(statSync(file).size < 20_000, `${statSync(file).size} bytes`);
      const { status, stderr } = await runAt(there.url, "bundle", "load", file);
      assert.is(status, 0, stderr);
    }
    assert.is(await digestIn(there.url, "app", "2"), two.manifest.digest);

    const before = join(folder.path, "before.tar");
    await runAt(here.url, "bundle", "create", "app:2", "-o", before, "--since", "2026-03-01");
    assert.ok(statSync(before).size > 3 * MIB);
  });

  test("refuses what is no time, and a store that does not say since when", async () => {
    await using folder = aTemporaryDirectory();
    await using here = await aRegistryServer();
    await putImage(here.url, anImage(), { repository: "app", reference: "1" });
    const create = ["bundle", "create", "app:1", "-o", join(folder.path, "b.tar")];
    for (const since of ["yesterday", "2026-13-45", "", "7"]) {
      const { status, stderr } = await runAt(here.url, ...create, "--since", since);
      assert.is(status, 2);
      assert.match(stderr, "--since wants a time");
    }
    const both = await runAt(here.url, ...create, "--since", "7d", "--base", "x");
    assert.match(both.stderr, "give one");

    await using silent = await withoutLastModified(here.url);
    const { status, stderr } = await runAt(silent.url, ...create, "--since", "7d");
    assert.is(status, 1);
    assert.match(stderr, "does not say since when");
  });
});

/** Passes requests on, and answers without one header. */
async function withoutLastModified(url: string): Promise<LoopbackServer> {
  return aLoopbackServer((incoming, outgoing) => {
    void fetch(new URL(incoming.url ?? "/", url), { method: incoming.method ?? "GET" }).then(
      async (answer) => {
        const headers = new Headers(answer.headers);
        headers.delete("last-modified");
        const body = Buffer.from(await answer.arrayBuffer());
        outgoing.writeHead(answer.status, Object.fromEntries(headers)).end(body);
      },
    );
  });
}
