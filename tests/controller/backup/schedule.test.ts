import { mkdirSync, readdirSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import {
  nameBackup,
  sortBackups,
  surplus,
  timeOfBackup,
  untilDue,
} from "@strata/controller/backup/kept";
import { restore } from "@strata/controller/backup/restore";
import fc from "fast-check";

import { aController, type TestController } from "../../support/controller.ts";
import { aSmallDisk } from "../../support/small-disk.ts";
import { assert, rejectsWithCode, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

const HOUR = 3_600_000;
const RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

async function tick({ services }: TestController): Promise<number> {
  return services.backupSchedule.tick(new AbortController().signal);
}

async function eventTypes(controller: TestController): Promise<readonly string[]> {
  const { body } = await controller.call("GET", "/v1/events?type=backup");
  return body.items.map(({ type }: { type: string }) => type);
}

suite("scheduled backups", (test) => {
  test("names sort by time, and what is not a backup is left alone", () => {
    const time = fc.integer({ min: 0, max: 4_000_000_000_000 }).map((ms) => ms - (ms % 1000));
    fc.assert(
      fc.property(fc.uniqueArray(time, { maxLength: 20 }), fc.nat(30), (times, keep) => {
        const names = times.map((ms) => nameBackup(ms, { encrypted: ms % 2000 === 0 }));
        const others = ["notes.txt", "strata-latest.tar.zst", `${names[0] ?? "x"}.part`];
        const sorted = sortBackups([...names, ...others]);
        assert.equal(
          sorted.map(timeOfBackup),
          times.toSorted((a, b) => b - a),
        );
        const gone = surplus([...others, ...names], keep);
        assert.is(gone.length, Math.max(0, times.length - keep));
        for (const name of gone) assert.ok(sorted.indexOf(name) >= keep);
      }),
    );
  });

  test("the next is due one interval after the newest; at once without one, or after a clock put back", () => {
    const every = { everyMs: HOUR };
    const name = nameBackup(10 * HOUR, { encrypted: false });
    assert.is(untilDue([], { nowMs: 5, ...every }), 0);
    assert.is(untilDue([name], { nowMs: 10.25 * HOUR, ...every }), 0.75 * HOUR);
    assert.is(untilDue([name], { nowMs: 12 * HOUR, ...every }), 0);
    assert.is(untilDue([name], { nowMs: 9 * HOUR, ...every }), 0);
  });

  test("are made by the clock, the last few kept, and each can be restored", async () => {
    await using folder = aTemporaryDirectory();
    const directory = join(folder.path, "backups");
    await using controller = await aController({
      environment: {
        STRATA_BACKUP_DIR: directory,
        STRATA_BACKUP_EVERY: "1h",
        STRATA_BACKUP_KEEP: "3",
      },
    });
    mkdirSync(directory);
    writeFileSync(join(directory, "notes.txt"), "mine");
    // What a kill left.
    writeFileSync(join(directory, `${nameBackup(0, { encrypted: false })}.part`), "half");
    for (let round = 1; round <= 5; round += 1) {
      await controller.call("PUT", `/v1/partitions/round-${round}`, { body: {} });
      assert.ok((await tick(controller)) > 0);
      assert.ok((await tick(controller)) > 0, "not again at once");
      controller.advance(HOUR);
    }
    const names = readdirSync(directory);
    assert.is(names.length, 4, names.join(" "));
    assert.ok(names.includes("notes.txt"));
    const list = await controller.call("GET", "/v1/backups");
    assert.is(list.body.items.length, 3);
    assert.is(list.body.lastTry.problem, null);
    assert.is(
      (await eventTypes(controller)).filter((type) => type === "backup.completed").length,
      5,
    );
    const metrics = await controller.services.telemetry.text();
    assert.match(metrics, /strata_backups_total\{outcome="ok"\} 5/);
    for (const { file } of list.body.items) {
      const { manifest } = await restore({
        file: join(directory, file),
        data: join(folder.path, file),
        keys: { identities: [], passphrase: undefined },
        nowMs: 0,
        epoch: "restored",
      });
      assert.ok((manifest.rows["partitions"] ?? 0) >= 3);
    }
  });

  test("a full disk costs no old one, leaves nothing half-written, and is said", async () => {
    await using disk = aSmallDisk(600_000);
    await using controller = await aController({
      environment: {
        STRATA_BACKUP_DIR: disk.path,
        STRATA_BACKUP_EVERY: "1h",
        STRATA_BACKUP_KEEP: "1",
      },
    });
    await tick(controller);
    const [first] = readdirSync(disk.path);
    const { bavail, bsize } = statfsSync(disk.path);
    writeFileSync(join(disk.path, "ballast"), Buffer.alloc(bavail * bsize - 4096, 1));
    controller.advance(HOUR);
    await tick(controller);
    assert.equal(readdirSync(disk.path).toSorted(), ["ballast", first]);
    const { body } = await controller.call("GET", "/v1/backups");
    assert.match(body.lastTry.problem, /full/);
    assert.ok((await eventTypes(controller)).includes("backup.failed"));
    const metrics = await controller.services.telemetry.text();
    assert.match(metrics, /strata_backups_total\{outcome="failed"\} 1/);
  });

  test("with a recipient nobody reads one without the key", async () => {
    await using folder = aTemporaryDirectory();
    const directory = join(folder.path, "backups");
    await using controller = await aController({
      environment: { STRATA_BACKUP_DIR: directory, STRATA_BACKUP_RECIPIENTS: RECIPIENT },
    });
    await tick(controller);
    const [name = ""] = readdirSync(directory);
    assert.match(name, /\.tar\.zst\.age$/);
    await rejectsWithCode(
      restore({
        file: join(directory, name),
        data: join(folder.path, "data"),
        keys: { identities: [], passphrase: "guessed" },
        nowMs: 0,
        epoch: "restored",
      }),
      "BACKUP_SEALED",
    );
  });

  test("one is made at a time", async () => {
    await using controller = await aController();
    const { backups } = controller.services;
    const { signal } = new AbortController();
    await using first = await backups.open({ blobs: false, signal });
    assert.is(first.manifest.format, 1);
    const second = await controller.call("POST", "/v1/backups", { body: {} });
    assert.is(second.status, 409);
    assert.is(second.body.code, "BACKUP_RUNNING");
  });
});
