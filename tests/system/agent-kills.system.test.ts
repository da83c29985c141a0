/** Kills the agent at random moments of all that it does, again and again, while what is wanted of it changes, and looks
 * each time whether anything was lost, doubled or left behind. `STRATA_KILLS_SEED=…` follows the same schedule again;
 * `STRATA_KILLS=…` kills another number of times. */
import { randomInt } from "node:crypto";
import process from "node:process";

import { createRandom } from "@strata/controller/domain/simulate/random";

import { someImages } from "../support/agent-kills/images.ts";
import { type Phase, phases, Scene } from "../support/agent-kills/scene.ts";
import { assert, suite } from "../support/suite.ts";

const KILLS = Number(process.env["STRATA_KILLS"] ?? 200);
const seed = Number(process.env["STRATA_KILLS_SEED"] ?? randomInt(2 ** 31));
const AGENTS = 2;
const IMAGES = 6;
const KILLS_BETWEEN_RESTS = 20;
/** Of a schedule of 200 each phase is the aim of 33; not every kill comes in time. */
const HITS_MIN = Math.floor(KILLS / 100);
const TIMEOUT_MS = 840_000 * Math.max(1, KILLS / 200);

type Tally = Map<Phase | "collection", number>;

async function torment(scene: Scene, index: number, tally: Tally): Promise<void> {
  const count = (phase: Phase | "collection"): void =>
    void tally.set(phase, (tally.get(phase) ?? 0) + 1);
  for (let kill = 0; kill < KILLS / AGENTS; kill += 1) {
    const aim = phases[(kill + index) % phases.length] ?? "recovery";
    scene.begin();
    scene.aim(aim);
    (await scene.strike(aim)).forEach(count);
    assert.equal(scene.findReplaced(), [], `after kill ${kill} of agent ${index}`);
    if (kill % 3 === 0) await scene.endOne();
    if (kill % 4 === 0 && (await scene.killCollection())) count("collection");
    if (kill % KILLS_BETWEEN_RESTS === KILLS_BETWEEN_RESTS - 1) {
      assert.equal(await scene.rest(), [], `at rest after kill ${kill} of agent ${index}`);
    }
  }
  assert.equal(await scene.rest(), [], `at rest in the end, agent ${index}`);
}

suite("an agent that is killed at any moment", (test) => {
  test(
    `loses, doubles and leaks nothing in ${KILLS} kills of seed ${seed}`,
    async () => {
      const images = someImages(IMAGES);
      const tally: Tally = new Map();
      await using scenes = new AsyncDisposableStack();
      const all = await Promise.all(
        Array.from({ length: AGENTS }, async (_, index) => {
          const hostPorts = `${25_000 + 500 * index}-${25_499 + 500 * index}`;
          const key = `kill${seed}x${index}`;
          const random = createRandom(seed + index);
          return scenes.use(await Scene.open({ key, images, hostPorts, random }));
        }),
      );
      const ends = await Promise.allSettled(
        all.map(async (scene, index) => {
          await torment(scene, index, tally).catch((error: unknown) => {
            console.log(`seed ${seed}, log of agent ${index}:\n${scene.log}\n`, error);
            throw error;
          });
        }),
      );
      const hits = Object.fromEntries(tally);
      console.log(`kills by what the agent was at: ${JSON.stringify(hits)}`);
      for (const end of ends) if (end.status === "rejected") throw end.reason;
      for (const phase of phases) assert.ok((hits[phase] ?? 0) >= HITS_MIN, `${phase} was spared`);
      assert.ok((hits["collection"] ?? 0) > 0, "the removal of images was spared");
    },
    { timeoutMs: TIMEOUT_MS },
  );
});
