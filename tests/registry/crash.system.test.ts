/** What the registry has acknowledged must outlive `kill -9` at any moment. */
import { randomInt } from "node:crypto";
import { mkdtempSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { bundleProgram } from "../../scripts/bundle-program.ts";
import { bundleStore } from "../../scripts/bundle.ts";
import { removeTree } from "../../scripts/remove-tree.ts";
import { root } from "../../scripts/root.ts";
import { startUpload } from "../conformance/checks.ts";
import {
  type Client,
  createClient,
  digestOf,
  randomBlob,
  withDigest,
} from "../support/registry-client.ts";
import { killInStart, startStore } from "../support/store-process.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";
import { killAtWork } from "./crash/kill-at-work.ts";
import { createLedger } from "./crash/ledger.ts";

/** Of each of the two stores, which are killed beside each other. */
const KILLS = 160;
/** A slow machine does fewer. */
const BUDGET_MS = 360_000;
const ROUND = { clients: 4, afterMsMax: 8 };
/** What a start may take, for those that are killed in it. */
const START_MS_MAX = 300;
/** One round in so many ends while the store starts. */
const START_ROUNDS = 8;

/** A program that serves a folder. */
type Program = (folder: string) => readonly string[];
type Tally = { kills: number; acknowledged: number; readonly startMs: number[] };

suite("kill -9", (test) => {
  test(
    "at hundreds of moments, in pushes, deletes and collections, loses nothing and invents nothing",
    async () => {
      const { program } = await bundleStore();
      await using collecting = await aCollectingStore();
      const serve: Program = (folder) => [program, "--data", folder, "--port", "0"];
      const collect: Program = (folder) => [collecting.path, folder];
      const failed = new AbortController();
      const { signal } = failed;
      const tallies = await Promise.all(
        [serve, collect].map((work) =>
          killOften({ work, serve, signal }).catch((error: unknown) => {
            failed.abort();
            throw error;
          }),
        ),
      );
      for (const { kills, acknowledged, startMs } of tallies) {
        const [median = 0] = startMs.toSorted((a, b) => a - b).slice(startMs.length / 2);
        const restart = `started again in ${Math.round(median)} ms (median)`;
        console.log(`${kills} kills, ${acknowledged} pushes and deletes kept, ${restart}`);
        assert.ok(kills >= KILLS / 8 && acknowledged >= kills, `only ${kills} kills`);
      }
    },
    { timeoutMs: 550_000 },
  );

  test(
    "in the middle of an upload leaves it to be resumed",
    async () => {
      const { program } = await bundleStore();
      await using folder = aTemporaryDirectory();
      const args = [program, "--data", folder.path, "--port", "0"];
      const bytes = randomBlob(2_000_000);
      const before = await startStore(args);
      const url = await startUpload(createClient(before.url), "a");
      const body = bytes.subarray(0, 1_200_000);
      assert.is((await createClient(before.url).send("PATCH", url, { body })).status, 202);
      await before.kill();
      const after = await startStore(args);
      try {
        const client = createClient(after.url);
        assert.is((await client.send("GET", url)).headers["range"], "0-1199999");
        const closing = withDigest(url, digestOf(bytes));
        const rest = bytes.subarray(1_200_000);
        assert.is((await client.send("PUT", closing, { body: rest })).status, 201);
      } finally {
        await after.kill();
      }
    },
    { timeoutMs: 120_000 },
  );
});

type Rounds = {
  /** Killed and started again, many times. */
  readonly work: Program;
  /** Started for the last look. */
  readonly serve: Program;
  /** Nobody waits for the result any more. */
  readonly signal: AbortSignal;
};

/** Rounds of start, look, work, kill; at last a long look. */
async function killOften({ work, serve, signal }: Rounds): Promise<Tally> {
  await using folder = aTemporaryDirectory();
  const tally: Tally = { kills: 0, acknowledged: 0, startMs: [] };
  const ledger = createLedger();
  const deadline = performance.now() + BUDGET_MS;
  const args = work(folder.path);
  while (tally.kills < KILLS && performance.now() < deadline && !signal.aborted) {
    if (randomInt(START_ROUNDS) === 0) await killInStart(args, randomInt(START_MS_MAX));
    else tally.startMs.push(await killAtWork(args, ledger, ROUND));
    tally.kills += 1;
  }
  // A store without any blob leaves files alone, rather than believe a database that lost its rows.
  const before = await startStore(serve(folder.path));
  await createClient(before.url).pushBlob("r0", randomBlob());
  await before.kill();
  const last = await startStore(serve(folder.path));
  try {
    const client = createClient(last.url);
    await ledger.verify(client);
    await expectNoOrphans(client, folder.path);
  } finally {
    await last.kill();
  }
  tally.acknowledged = ledger.acknowledged();
  return tally;
}

/** Every blob file is served, and every upload file can be resumed: there is nothing that nobody can name. */
async function expectNoOrphans(client: Client, folder: string): Promise<void> {
  const blobs = join(folder, "blobs", "sha256");
  for (const prefix of readdirSync(blobs)) {
    for (const hex of readdirSync(join(blobs, prefix))) {
      const heads = await Promise.all(
        ["r0", "r1"].map((name) => client.send("HEAD", `/v2/${name}/blobs/sha256:${hex}`)),
      );
      assert.ok(
        heads.some(({ status }) => status === 200),
        `nobody can name ${hex}`,
      );
    }
  }
  for (const id of readdirSync(join(folder, "uploads"))) {
    const answers = await Promise.all(
      ["r0", "r1"].map((name) => client.send("GET", `/v2/${name}/blobs/uploads/${id}`)),
    );
    assert.ok(
      answers.some(({ status }) => status === 204),
      `nobody can resume ${id}`,
    );
  }
}

/** The database's native part is found from inside the registry only. */
async function aCollectingStore(): Promise<AsyncDisposable & { readonly path: string }> {
  const folder = mkdtempSync(join(root, "registry/node_modules/.crash-"));
  await bundleProgram(join(root, "tests/registry/crash/collecting-store.ts"), folder);
  return {
    path: join(folder, "collecting-store.mjs"),
    [Symbol.asyncDispose]: () => removeTree(folder),
  };
}
