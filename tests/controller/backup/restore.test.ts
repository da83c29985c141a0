import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { restore, type Restore } from "@strata/controller/backup/restore";
import { makeReady, finishSwap } from "@strata/controller/backup/swap";
import { generateX25519Identity, identityToRecipient } from "age-encryption";

import { aControllerProcess, type ControllerProcess } from "../../support/controller-process.ts";
import { missingPrograms } from "../../support/installed.ts";
import { pushImage } from "../../support/push-image.ts";
import { assert, rejectsWithCode, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { backUp, runCli, runRestore } from "./scene.ts";

const noKeys = { identities: [], passphrase: undefined };

function aRestore(file: string, data: string, changes: Partial<Restore> = {}): Restore {
  return { file, data, keys: noKeys, nowMs: Date.parse("2026-03-01"), epoch: "new", ...changes };
}

/** Does the work over and over until it is told to end; gives what was acknowledged. */
function keepDoing(work: (round: number) => Promise<string>): {
  readonly done: readonly string[];
  readonly stop: () => Promise<void>;
} {
  const done: string[] = [];
  let isOver = false;
  const run = async (): Promise<void> => {
    for (let round = 0; !isOver; round += 1) done.push(await work(round));
  };
  const running = run();
  return {
    done,
    stop: async () => {
      isOver = true;
      await running;
    },
  };
}

async function until(what: string, condition: () => boolean): Promise<void> {
  const endsAt = performance.now() + 50_000;
  while (!condition()) {
    if (performance.now() > endsAt) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => void setTimeout(resolve, 5));
  }
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
        () => writes.done.length > 30 && pushes.done.length > 5,
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
    { timeoutMs: 120_000 },
  );

  test(
    "a kill in the middle of a backup leaves a controller that starts, and makes another",
    async () => {
      await using folder = aTemporaryDirectory();
      await using controller = await aControllerProcess();
      const stage = join(controller.dataDirectory, "controller", "backup-stage");
      const file = join(folder.path, "backup.tar.zst");
      const attempt = backUp(controller, file).then(
        () => "whole",
        () => "broken off",
      );
      await until("it is being made", () => existsSync(stage));
      await controller.kill("SIGKILL");
      await attempt;
      await controller.start();
      await backUp(controller, file);
      await until("nothing of it is left", () => !existsSync(stage));
      assert.is((await restore(aRestore(file, join(folder.path, "data")))).aside, undefined);
    },
    { timeoutMs: 90_000 },
  );

  test(
    "one that is cut off, altered or no backup is refused, and nothing is touched",
    async () => {
      await using folder = aTemporaryDirectory();
      await using controller = await aControllerProcess();
      const file = join(folder.path, "backup.tar.zst");
      await backUp(controller, file);
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
      writeFileSync(broken, whole);
      truncateSync(broken, 0);
      await refuse(Buffer.of(), "empty");
    },
    { timeoutMs: 90_000 },
  );

  test(
    "encrypted by the command line, only the right key or passphrase opens it; age does, too",
    async () => {
      await using folder = aTemporaryDirectory();
      await using controller = await aControllerProcess();
      const path = (name: string): string => join(folder.path, name);
      const identity = await generateX25519Identity();
      writeFileSync(path("key"), `# a comment\n${identity}\n`);
      writeFileSync(path("secret"), "correct horse battery staple\n");
      writeFileSync(path("wrong"), "correct horse battery stable\n");
      const recipient = await identityToRecipient(identity);
      const byKey = await runCli(controller, [
        "backup",
        "-o",
        path("a.age"),
        "--encrypt-to",
        recipient,
      ]);
      assert.is(byKey.code, 0, byKey.err);
      const byWord = await runCli(controller, [
        ...["backup", "-o", path("b.age"), "--passphrase-file", path("secret")],
      ]);
      assert.is(byWord.code, 0, byWord.err);

      const data = path("data");
      for (const args of [
        [path("a.age")],
        [path("b.age"), "--passphrase-file", path("wrong")],
        [path("a.age"), "--passphrase-file", path("secret")],
      ]) {
        const refused = await runRestore([...args, "--data", data]);
        assert.is(refused.code, 1);
        assert.match(refused.err, /BACKUP_SEALED/);
      }
      const cut = readFileSync(path("a.age"));
      writeFileSync(path("cut.age"), cut.subarray(0, cut.length - 20));
      const torn = await runRestore([path("cut.age"), "--identity", path("key"), "--data", data]);
      assert.match(torn.err, /BACKUP_INVALID/);
      for (const args of [
        [path("a.age"), "--identity", path("key")],
        [path("b.age"), "--passphrase-file", path("secret")],
      ]) {
        const done = await runRestore([...args, "--data", data]);
        assert.is(done.code, 0, done.err);
      }
      assert.ok(readdirSync(data).some((name) => name.startsWith("before-restore-")));
      if (missingPrograms(["age"]).length > 0) return;
      execFileSync("age", ["-d", "-i", path("key"), "-o", path("a.tar.zst"), path("a.age")]);
      await restore(aRestore(path("a.tar.zst"), path("other")));
    },
    { timeoutMs: 120_000 },
  );

  test("a controller that runs keeps its data", async () => {
    await using folder = aTemporaryDirectory();
    await using controller = await aControllerProcess();
    const file = join(folder.path, "backup.tar.zst");
    await backUp(controller, file);
    await rejectsWithCode(
      restore(aRestore(file, controller.dataDirectory, { patienceMs: 0 })),
      "DATA_IN_USE",
    );
    assert.is((await controller.call("GET", "/readyz")).status, 200);
  });

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

  test(
    "a damaged database at the start names the last backup and the command that restores it",
    async () => {
      await using folder = aTemporaryDirectory();
      const directory = join(folder.path, "backups");
      await using controller = await aControllerProcess({
        environment: { STRATA_BACKUP_DIR: directory },
      });
      await until("the first backup is made", () =>
        existsSync(directory)
          ? readdirSync(directory).some((name) => name.endsWith(".zst"))
          : false,
      );
      await controller.kill("SIGTERM");
      const database = join(controller.dataDirectory, "controller", "strata.db");
      const bytes = readFileSync(database);
      writeFileSync(database, bytes.fill(0x55, 0, 200));
      const error = await controller.start().then(
        () => undefined,
        (caught: unknown) => caught,
      );
      await controller.kill("SIGKILL");
      const [backup = ""] = readdirSync(directory);
      const command = `strata restore ${join(directory, backup)} --data ${controller.dataDirectory}`;
      assert.ok(String(error).includes(command), String(error));
      assert.match(String(error), /ended with 3: .*\(DATABASE_CORRUPT\)/s);
      const [, , ...args] = command.split(" ");
      const done = await runRestore(args);
      assert.is(done.code, 0, done.err);
      await controller.start();
      assert.is((await controller.call("GET", "/v1/epoch")).body.state, "restored");
    },
    { timeoutMs: 90_000 },
  );
});
