import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { restore } from "@strata/controller/backup/restore";
import { generateX25519Identity, identityToRecipient } from "age-encryption";

import { aControllerProcess } from "../../support/controller-process.ts";
import { missingPrograms } from "../../support/installed.ts";
import { assert, rejectsWithCode, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { aRestore, runCli, runRestore } from "./scene.ts";

suite("encrypted backups", (test) => {
  test(
    "encrypted by the command line, only the right key or passphrase opens it; age does, too",
    async () => {
      await using folder = aTemporaryDirectory();
      await using controller = await aControllerProcess();
      const path = (name: string): string => join(folder.path, name);
      const identity = await generateX25519Identity();
      writeFileSync(path("key"), `# a comment\n${identity}\n`);
      writeFileSync(path("secret"), "correct horse battery staple\n");
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
        "backup",
        "-o",
        path("b.age"),
        "--passphrase-file",
        path("secret"),
      ]);
      assert.is(byWord.code, 0, byWord.err);

      const data = path("data");
      const identities = [await generateX25519Identity()];
      for (const keys of [
        { identities: [], passphrase: undefined },
        { identities, passphrase: undefined },
        { identities: [], passphrase: "correct horse battery staple" },
      ])
        await rejectsWithCode(restore(aRestore(path("a.age"), data, { keys })), "BACKUP_SEALED");
      const byWrongWord = { identities: [], passphrase: "correct horse battery stable" };
      await rejectsWithCode(
        restore(aRestore(path("b.age"), data, { keys: byWrongWord })),
        "BACKUP_SEALED",
      );
      const cut = readFileSync(path("a.age"));
      writeFileSync(path("cut.age"), cut.subarray(0, cut.length - 20));
      const opened = { identities: [identity], passphrase: undefined };
      await rejectsWithCode(
        restore(aRestore(path("cut.age"), data, { keys: opened })),
        "BACKUP_INVALID",
      );
      const byRightWord = { identities: [], passphrase: "correct horse battery staple" };
      await restore(aRestore(path("b.age"), data, { keys: byRightWord }));
      const done = await runRestore([path("a.age"), "--identity", path("key"), "--data", data]);
      assert.is(done.code, 0, done.err);
      assert.ok(readdirSync(data).some((name) => name.startsWith("before-restore-")));
      if (missingPrograms(["age"]).length > 0) return;
      execFileSync("age", ["-d", "-i", path("key"), "-o", path("a.tar.zst"), path("a.age")]);
      await restore(aRestore(path("a.tar.zst"), path("other")));
    },
    { timeoutMs: 170_000 },
  );
});
