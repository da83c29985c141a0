/** A run as text, for terminals: counts over time, and under them which limiter bound. */
import type { Limiter } from "../autoscale/l1/model.ts";
import type { RunSeries, SeriesPoint } from "./series.ts";

const BARS = " ▁▂▃▄▅▆▇█";
const marks = { need: "·", forecast: "~", floor: "_", ready: "░", desired: "█" } as const;
const limiterMarks: Readonly<Record<Limiter, string>> = {
  "metric-failed": "f",
  stabilisation: "s",
  panic: "p",
  rollout: "r",
  activation: "a",
  "pending-grow": "g",
  "pending-shrink": "d",
  "grow-rate": "^",
  "shrink-rate": "v",
  min: "m",
  max: "M",
  paused: "=",
};

export type TerminalSize = { readonly width: number; readonly height: number };

/** Load as a line of bars, counts as a chart, limiters as letters. No colours, so it can be pasted anywhere. */
export function plotTerminal(
  { name, points }: RunSeries,
  size: TerminalSize = { width: 72, height: 12 },
): string {
  if (points.length === 0) return `${name}: nothing to show\n`;
  const columns = toColumns(points, size.width);
  const top = Math.max(1, ...columns.map(highest));
  const peak = Math.max(...points.map(({ load }) => load));
  const gutter = String(top).length + 1;
  const row = (label: string, text: string): string => `${label.padStart(gutter)} ${text}`;
  const load = columns.map((point) => bar(point.load, peak)).join("");
  const chart = Array.from({ length: size.height }, (_, index) => {
    const level = size.height - index;
    const label = index === 0 ? String(top) : index === size.height - 1 ? "0" : "";
    return row(
      label,
      columns.map((point) => cell(point, { level, height: size.height, top })).join(""),
    );
  });
  const limiters = columns
    .map(({ limiter }) => (limiter === null ? " " : limiterMarks[limiter]))
    .join("");
  return `${[
    `${name}: load up to ${round(peak)}, ${top} at most, over ${hours(points)}`,
    row("load", load),
    ...chart,
    row("", limiters),
    legend(columns),
  ].join("\n")}\n`;
}

/** Several points of one column become their highest, and the last limiter that bound. */
function toColumns(points: readonly SeriesPoint[], width: number): readonly SeriesPoint[] {
  const count = Math.min(width, points.length);
  return Array.from({ length: count }, (_, index) => {
    const from = Math.floor((index * points.length) / count);
    const to = Math.max(from + 1, Math.floor(((index + 1) * points.length) / count));
    return points.slice(from, to).reduce((a, b) => ({
      ...b,
      load: Math.max(a.load, b.load),
      desired: Math.max(a.desired, b.desired),
      limiter: b.limiter ?? a.limiter,
    }));
  });
}

function highest({ needs, forecast, floor, desired, ready }: SeriesPoint): number {
  return Math.max(desired, ready, forecast ?? 0, floor ?? 0, ...Object.values(needs));
}

function cell(
  point: SeriesPoint,
  { level, height, top }: { readonly level: number; readonly height: number; readonly top: number },
): string {
  const levelOf = (count: number): number => Math.ceil((count / top) * height);
  if (levelOf(point.desired) === level) return marks.desired;
  if (point.forecast !== null && levelOf(point.forecast) === level) return marks.forecast;
  if (Object.values(point.needs).some((need) => levelOf(need) === level)) return marks.need;
  if (point.floor !== null && levelOf(point.floor) === level) return marks.floor;
  return levelOf(point.ready) > level ? marks.ready : " ";
}

function bar(value: number, peak: number): string {
  return BARS[peak === 0 ? 0 : Math.round((value / peak) * (BARS.length - 1))] ?? " ";
}

function legend(columns: readonly SeriesPoint[]): string {
  const bound = new Set(columns.flatMap(({ limiter }) => limiter ?? []));
  const letters = [...bound].map((limiter) => `${limiterMarks[limiter]} ${limiter}`);
  const lines = Object.entries(marks).map(([what, mark]) => `${mark} ${what}`);
  return [...lines, ...letters].join("  ");
}

function hours(points: readonly SeriesPoint[]): string {
  const ms = (points.at(-1)?.at ?? 0) - (points[0]?.at ?? 0);
  return ms >= 3_600_000 ? `${round(ms / 3_600_000)} h` : `${round(ms / 60_000)} min`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
