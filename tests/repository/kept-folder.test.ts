import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";

import { requireKeptFolder } from "../support/machines/kept-folder.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const script = join(import.meta.dirname, "../support/machines/kept-folder.sh");

/** Makes the folder in a process group of its own. The maker writes half, waits for a word, and writes the rest. */
async function aWaitingMaker(folder: string) {
  const gate = join(folder, "gate");
  if (!existsSync(gate)) execFileSync("mkfifo", [gate]);
  const maker = `echo begun >>${folder}/log; printf half >"$1/file"; read -r word <${gate}; printf ' whole' >>"$1/file"`;
  const start = () =>
    spawn(script, [join(folder, "cache"), "image", "sh", "-c", maker, "sh"], {
      detached: true,
      stdio: "inherit",
    });
  return {
    start,
    /** Resolves once a maker waits, and gives it its word at the end of the scope. */
    letOneFinish: async () => {
      // Opening a FIFO to write waits for its reader.
      const handle = await open(gate, "w");
      return { release: () => handle.write("go\n").then(() => handle.close()) };
    },
    log: () => readFileSync(join(folder, "log"), "utf8"),
  };
}

suite("a kept folder", (test) => {
  test("is made once for two who want it at the same time", async () => {
    await using temporary = aTemporaryDirectory();
    const maker = await aWaitingMaker(temporary.path);
    const both = [maker.start(), maker.start()];
    const ended = Promise.all(both.map((child) => once(child, "exit")));
    const { release } = await maker.letOneFinish();
    assert.not.ok(existsSync(join(temporary.path, "cache/image")));
    await release();
    assert.equal(
      (await ended).map(([code]) => code),
      [0, 0],
    );
    assert.is(maker.log(), "begun\n");
    assert.is(readFileSync(join(temporary.path, "cache/image/file"), "utf8"), "half whole");
  });

  test("is not there when its maker was killed, and the next one makes it whole", async () => {
    await using temporary = aTemporaryDirectory();
    const maker = await aWaitingMaker(temporary.path);
    const killed = maker.start();
    const { release } = await maker.letOneFinish();
    const ended = once(killed, "exit");
    process.kill(-(killed.pid ?? 0), "SIGKILL");
    await ended;
    await release().catch(() => undefined); // Its reader is gone.
    const cache = join(temporary.path, "cache");
    assert.is(readdirSync(cache).filter((name) => name.startsWith("unfinished.")).length, 1);

    const command = ["sh", "-c", 'printf whole >"$1/file"', "sh"] as const;
    const path = requireKeptFolder({ cache, name: "image", command });
    assert.is(readFileSync(join(path, "file"), "utf8"), "whole");
    assert.equal(readdirSync(cache).toSorted(), ["image", "lock"]);
  });

  test("is not there when its maker failed", async () => {
    await using temporary = aTemporaryDirectory();
    const cache = join(temporary.path, "cache");
    const command = ["sh", "-c", 'touch "$1/file"; exit 3', "sh"] as const;
    assert.throws(() => requireKeptFolder({ cache, name: "image", command }));
    assert.equal(readdirSync(cache), ["lock"]);
  });

  test("makes room for another when nobody has asked for it in two weeks", async () => {
    await using temporary = aTemporaryDirectory();
    const cache = join(temporary.path, "cache");
    const need = (name: string) => requireKeptFolder({ cache, name, command: ["touch"] });
    for (const name of ["stale", "used"]) {
      const past = new Date(Date.now() - 20 * 86_400_000);
      utimesSync(need(name), past, past);
    }
    writeFileSync(join(need("used"), "kept"), "");
    need("new");
    assert.equal(readdirSync(cache).toSorted(), ["lock", "new", "used"]);
    assert.ok(existsSync(join(cache, "used/kept")));
  });
});
