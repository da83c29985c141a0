import { randomBytes } from "node:crypto";
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

import { restore } from "@strata/controller/backup/restore";
import { finishSwap, makeReady } from "@strata/controller/backup/swap";

import { aControllerProcess, type ControllerProcess } from "../../support/controller-process.ts";
import { aController } from "../../support/controller.ts";
import { pushImage } from "../../support/push-image.ts";
import { assert, rejectsWithCode, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { aRestore, backUp, runRestore, until } from "./scene.ts";

/** Does the work over and over until it is told to end; gives what was acknowledged. */
function keepDoing(work: (round: number) => Promise<string>): {
  readonly done: readonly string[];
  readonly stop: () => Promise<void>;
} {
  const done: string[] = [];
  const over = new AbortController();
  const run = async (): Promise<void> => {
    for (let round = 0; !over.signal.aborted; round += 1) done.push(await work(round));
  };
  const running = run();
  return {
    done,
    stop: async () => {
      over.abort();
      await running;
    },
  };
}

/** Every manifest and every blob of it can be fetched. */
async function requireWholeImage(controller: ControllerProcess, digest: string): Promise<void> {
  const manifest = await controller.call("GET", `/v2/busy/manifests/${digest}`);
  assert.is(manifest.status, 200, digest);
  const { config, layers } = manifest.body;
  for (const blob of [config, ...layers]) {
    const { status } = await controller.call("GET", `/v2/busy/blobs/${blob.digest}`);
    assert.is(status, 200, `${blob.digest} of ${digest}`);
  }
}

suite("backup and restore", (test) => {
  test(
    "what was acknowledged before a backup is in it, while writes and pushes go on",
    async () => {
      await using folder = aTemporaryDirectory();
      await using controller = await aControllerProcess();
      const file = join(folder.path, "backup.tar.zst");
      const writes = keepDoing(async (round) => {
        const { status } = await controller.call("PUT", `/v1/partitions/p-${round}`, { body: {} });
        assert.ok(status === 200 || status === 201);
        return `p-${round}`;
      });
      const pushes = keepDoing((round) =>
        pushImage(
          { url: controller.url, token: controller.adminToken() },
          { repository: "busy", tag: "latest", command: `/bin/${round}` },
        ),
      );
      await until(
        "there is something to lose",
        () => writes.done.length > 10 && pushes.done.length > 3,
      );
      const acknowledged = { partitions: [...writes.done], images: [...pushes.done] };
      await backUp(controller, file, { blobs: true });
      await Promise.all([writes.stop(), pushes.stop()]);
      assert.ok(writes.done.length > acknowledged.partitions.length, "it blocked all writes");
      assert.is(await controller.kill("SIGKILL"), "SIGKILL");

      // As on a new machine: nothing is there.
      for (const name of readdirSync(controller.dataDirectory))
        renameSync(join(controller.dataDirectory, name), join(folder.path, name));
      const ended = await runRestore([file, "--data", controller.dataDirectory]);
      assert.is(ended.code, 0, ended.err);
      await controller.start();
      for (const name of acknowledged.partitions) {
        const { status } = await controller.call("GET", `/v1/partitions/${name}`);
        assert.is(status, 200, name);
      }
      for (const digest of acknowledged.images) await requireWholeImage(controller, digest);
      // The newest of the copy, pushed while it was made, is whole as well.
      const latest = await controller.call("GET", "/v2/busy/manifests/latest");
      await requireWholeImage(controller, latest.headers.get("docker-content-digest") ?? "");
    },
    { timeoutMs: 150_000 },
  );

  test(
    "one that is cut off, altered or no backup is refused, and nothing is touched",
    async () => {
      await using folder = aTemporaryDirectory();
      await using controller = await aController();
      const file = join(folder.path, "backup.tar.zst");
      const { signal } = new AbortController();
      {
        await using backup = await controller.services.backups.open({ blobs: false, signal });
        await pipeline(backup.archive, createWriteStream(file));
      }
      const whole = readFileSync(file);
      const data = join(folder.path, "data");
      mkdirSync(data);
      writeFileSync(join(data, "admin-token"), "mine");
      const broken = join(folder.path, "broken");
      const refuse = async (bytes: Buffer, what: string): Promise<void> => {
        writeFileSync(broken, bytes);
        const error = await rejectsWithCode(restore(aRestore(broken, data)), "BACKUP_INVALID");
        assert.not.match(error.message, /undefined/, what);
        assert.equal(readdirSync(data).toSorted(), ["admin-token", "controller"], what);
        assert.equal(readdirSync(join(data, "controller")), ["lock"], what);
        assert.is(readFileSync(join(data, "admin-token"), "utf8"), "mine");
      };
      for (const part of [0, 0.1, 0.5, 0.9]) {
        await refuse(whole.subarray(0, Math.floor(whole.length * part)), `cut at ${part}`);
        const flipped = Buffer.from(whole);
        const at = Math.floor(whole.length * part) + 1;
        flipped[at] = (flipped[at] ?? 0) ^ 0x10;
        await refuse(flipped, `altered at ${at}`);
      }
      await refuse(whole.subarray(0, -1), "cut by one");
      await refuse(randomBytes(10_000), "noise");
      await refuse(Buffer.of(), "empty");
    },
    { timeoutMs: 90_000 },
  );

  test("a swap that was interrupted anywhere is finished by the next start", async () => {
    await using folder = aTemporaryDirectory();
    const stamp = "2026-01-01";
    for (let moves = 0; moves <= 4; moves += 1) {
      const data = join(folder.path, `data-${moves}`);
      const write = (path: string, text: string): void => {
        mkdirSync(join(data, path, ".."), { recursive: true });
        writeFileSync(join(data, path), text);
      };
      for (const path of ["controller/strata.db", "controller/strata.db-wal", "admin-token"])
        write(path, "old");
      for (const path of ["controller/strata.db", "admin-token"])
        write(`restore-new/${path}`, "new");
      makeReady(data, join(data, "restore-new"), stamp);
      const ready = join(data, `restore-ready-${stamp}`);
      const aside = join(data, `before-restore-${stamp}`);
      const steps: readonly (readonly [string, string])[] = [
        [join(data, "controller/strata.db-wal"), join(aside, "controller/strata.db-wal")],
        [join(data, "admin-token"), join(aside, "admin-token")],
        [join(ready, "admin-token"), join(data, "admin-token")],
        [join(data, "controller/strata.db"), join(aside, "controller/strata.db")],
      ];
      mkdirSync(join(aside, "controller"), { recursive: true });
      for (const [from, to] of steps.slice(0, moves)) renameSync(from, to);
      assert.is(finishSwap(data), aside);
      assert.is(readFileSync(join(data, "controller/strata.db"), "utf8"), "new");
      assert.is(readFileSync(join(data, "admin-token"), "utf8"), "new");
      assert.not(existsSync(join(data, "controller/strata.db-wal")));
      for (const path of ["controller/strata.db", "controller/strata.db-wal", "admin-token"])
        assert.is(readFileSync(join(aside, path), "utf8"), "old");
      assert.is(finishSwap(data), undefined);
    }
  });
});
