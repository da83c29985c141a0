import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { restore } from "@strata/controller/backup/restore";

import { aControllerProcess } from "../../support/controller-process.ts";
import { assert, rejectsWithCode, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { aRestore, backUp, runRestore, until } from "./scene.ts";

suite("backups of a controller that is killed or damaged", (test) => {
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
      // And a controller that runs keeps its data.
      await rejectsWithCode(
        restore(aRestore(file, controller.dataDirectory, { patienceMs: 0 })),
        "DATA_IN_USE",
      );
      assert.is((await restore(aRestore(file, join(folder.path, "data")))).aside, undefined);
    },
    { timeoutMs: 90_000 },
  );

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
