/** Writes the three traces next to this file: `node examples/traces/generate.ts`. The same seed gives the same bytes.
 * README.md says what each is derived from. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";

const DAYS = 7;
const MINUTES_OF_DAY = 1440;
const SEED = 19_980_716;

/** Requests per second at a minute of the week that begins on a Monday, 00:00. */
type Shape = (minute: number) => number;

/** mulberry32: numbers in [0, 1). */
function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** A bump around `center` that rises and falls like a bell of that width. */
function bell(at: number, center: number, width: number): number {
  return Math.exp(-(((at - center) / width) ** 2) / 2);
}

/** 0 before `from`, 1 after `to`, smooth between. */
function ramp(at: number, from: number, to: number): number {
  const share = Math.min(1, Math.max(0, (at - from) / (to - from)));
  return share * share * (3 - 2 * share);
}

/** An encyclopedia: two harmonics of a day, half as much at night, a little less at the weekend. */
const diurnalWeb: Shape = (minute) => {
  const hour = (minute % MINUTES_OF_DAY) / 60;
  const day = Math.floor(minute / MINUTES_OF_DAY);
  const daily =
    1 +
    0.33 * Math.cos((2 * Math.PI * (hour - 18)) / 24) +
    0.1 * Math.cos((4 * Math.PI * (hour - 20)) / 24);
  return 12_500 * daily * (day >= 5 ? 0.9 : 1);
};

/** A sports event: a calm day, and two matches that multiply the load within a quarter of an hour. */
const burstyEvent: Shape = (minute) => {
  const at = minute % MINUTES_OF_DAY;
  const day = Math.floor(minute / MINUTES_OF_DAY);
  const calm = 1500 + 1200 * bell(at, 15 * 60, 200);
  const kickOffs = day === 2 || day === 5 ? [21 * 60] : [16 * 60 + 30, 21 * 60];
  return kickOffs.reduce((load, kickOff) => {
    const since = at - kickOff;
    const crowd = ramp(since, -12, 6) * (1 - ramp(since, 100, 150));
    const halfTime = 0.35 * bell(since, 52, 6);
    const goals = 0.5 * bell(since, 23 + 7 * day, 2) + 0.4 * bell(since, 88, 3);
    return load + (9000 + 800 * day) * (crowd + crowd * (halfTime + goals));
  }, calm);
};

/** An office: nothing at night and at the weekend, a lunch break, and a batch at two in the morning. */
const businessHours: Shape = (minute) => {
  const at = minute % MINUTES_OF_DAY;
  const day = Math.floor(minute / MINUTES_OF_DAY);
  const office = ramp(at, 7.5 * 60, 9.5 * 60) * (1 - ramp(at, 16.5 * 60, 18.5 * 60));
  const lunch = 0.35 * bell(at, 12.5 * 60, 25);
  const batch = at >= 120 && at < 200 ? 8000 : 0;
  return 100 + (day < 5 ? 18_000 * office * (1 - lunch) : 0) + batch;
};

const traces = [
  { file: "diurnal-web.csv", shape: diurnalWeb, noise: 0.02 },
  { file: "bursty-event.csv", shape: burstyEvent, noise: 0.05 },
  { file: "business-hours.csv", shape: businessHours, noise: 0.04 },
];

/** Noise that remembers half of its last value: neighbouring minutes are alike. */
function render(shape: Shape, noise: number, random: () => number): string {
  let drift = 0;
  const lines = ["seconds,requests"];
  for (let minute = 0; minute < DAYS * MINUTES_OF_DAY; minute += 1) {
    // The sum of three is close enough to a bell, and the same on every machine.
    drift = drift / 2 + noise * (random() + random() + random() - 1.5);
    lines.push(`${minute * 60},${Math.round(Math.max(0, shape(minute) * (1 + drift)))}`);
  }
  return `${lines.join("\n")}\n`;
}

traces.forEach(({ file, shape, noise }, index) => {
  writeFileSync(join(import.meta.dirname, file), render(shape, noise, createRandom(SEED + index)));
});
