import {
  goalAtLeast,
  goalAtMost,
  goalBound,
  goalOfWorst,
  interleave,
  median,
  summarize,
} from "../../scripts/benches/measure.ts";
import { renderTable, replaceSection } from "../../scripts/benches/render.ts";
import { assert, suite } from "../support/suite.ts";

const samples = new Map([
  ["strata", [10, 30, 20]],
  ["podman", [100, 80, 90]],
  ["lxc-start", [5, 6, 7]],
]);

suite("bench figures", (test) => {
  test("are medians, with the ratio to the first peer", () => {
    const result = summarize("start", "ms", samples);
    assert.equal(result, {
      what: "start",
      unit: "ms",
      ours: 20,
      peers: { podman: 90, "lxc-start": 6 },
      ratio: 0.222,
      n: 3,
      min: { ours: 10, podman: 80, "lxc-start": 5 },
      max: { ours: 30, podman: 100, "lxc-start": 7 },
    });
  });

  test("of an even number lie between the middle two, and of none are no number", () => {
    assert.is(median([4, 1, 3, 2]), 2.5);
    assert.ok(Number.isNaN(median([])));
  });

  test("meet a goal at its bound and not above it; a missing peer meets none", () => {
    const result = summarize("start", "ms", samples);
    assert.ok(goalAtMost(result, "podman", 0.25).met);
    assert.not(goalAtMost(result, "podman", 0.2).met);
    assert.not(goalAtMost(result, "docker", 100).met);
    assert.ok(goalAtLeast(result, "lxc-start", 3).met);
    assert.not(goalAtLeast(result, "lxc-start", 3.5).met);
    assert.not(goalAtLeast(result, "docker", 0).met);
    assert.ok(goalBound(result, 20).met);
    assert.not(goalBound(result, 19).met);
    assert.ok(goalOfWorst(result, 30).met);
    assert.not(goalOfWorst(result, 29).met);
  });

  test("leave the first round out, and begin each round with another contestant", async () => {
    const order: string[] = [];
    const contestant = (name: string) => ({
      name,
      measure: (round: number) => {
        order.push(name);
        return Promise.resolve(round);
      },
    });
    const found = await interleave([contestant("a"), contestant("b")], {
      rounds: 2,
      say: () => undefined,
    });
    assert.is(order.join(""), "abbaab");
    assert.equal(
      [...found],
      [
        ["a", [1, 2]],
        ["b", [1, 2]],
      ],
    );
  });

  test("are printed as one table, with the goals below", () => {
    const result = summarize("start", "ms", samples);
    const table = renderTable({ results: [result], goals: [goalAtMost(result, "podman", 0.2)] });
    assert.match(table, "| start | ms   | 3 | 20   | 90     | 6         | 0.222 | 10–30");
    assert.match(table, "- **not met**: start: at most 0.2 x podman: 0.222");
  });

  test("replace their own section of the page and no other", () => {
    const page = replaceSection(replaceSection("# Benchmarks\n", "a", "old"), "b", "other");
    const changed = replaceSection(page, "a", "new");
    assert.match(changed, "new");
    assert.match(changed, "other");
    assert.not.match(changed, "old");
    assert.is(replaceSection(changed, "a", "new"), changed);
  });
});
