/** A run as one SVG: load above, counts below, and a band that shows which limiter bound. Needs nothing from outside,
 * so it can stand in a page, a README or a mail. */
import type { Limiter } from "../autoscale/l1/model.ts";
import type { RunSeries, SeriesPoint } from "./series.ts";

const WIDTH = 960;
const LEFT = 56;
const RIGHT = 16;
const LOAD = { top: 40, height: 90 };
const COUNT = { top: 160, height: 220 };
const BAND = { top: 392, height: 12 };
const HEIGHT = 460;
const TICKS = 4;

/** Chosen to be told apart by colour-blind people too. */
const needColours = ["#0072b2", "#009e73", "#cc79a7", "#56b4e9"];
const limiterColours: Readonly<Record<Limiter, string>> = {
  "metric-failed": "#d55e00",
  stabilisation: "#56b4e9",
  panic: "#d55e00",
  rollout: "#cc79a7",
  activation: "#009e73",
  "pending-grow": "#f0e442",
  "pending-shrink": "#f0e442",
  "grow-rate": "#e69f00",
  "shrink-rate": "#0072b2",
  min: "#999999",
  max: "#000000",
  paused: "#cc79a7",
};

type Panel = { readonly top: number; readonly height: number };
type Scale = { readonly x: (at: number) => number; readonly y: (value: number) => number };

export function plotSvg(series: RunSeries): string {
  const { name, points } = series;
  const end = points.at(-1)?.at ?? 0;
  const peak = Math.max(1, ...points.map(({ load }) => load));
  const top = Math.max(1, ...points.map(highest));
  const metrics = Object.keys(points[0]?.needs ?? {});
  const load = scaleOf(LOAD, { end, top: peak });
  const counts = scaleOf(COUNT, { end, top });
  const line = (pick: (point: SeriesPoint) => number | null, attributes: string): string =>
    polyline(points, { scale: counts, pick, attributes });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<title>${escape(name)}</title><rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    text({ x: LEFT, y: 22 }, `${name}: load`),
    axis(LOAD, { scale: load, top: peak }),
    polyline(points, { scale: load, pick: (point) => point.load, attributes: 'stroke="#555"' }),
    text({ x: LEFT, y: COUNT.top - 12 }, "processes"),
    axis(COUNT, { scale: counts, top }),
    ...metrics.map((metric, index) =>
      line(
        (point) => point.needs[metric] ?? null,
        `stroke="${needColours[index % needColours.length]}" stroke-width="1"`,
      ),
    ),
    line(({ forecast }) => forecast, 'stroke="#e69f00" stroke-dasharray="4 3"'),
    line(({ floor }) => floor, 'stroke="#999" stroke-dasharray="1 3"'),
    line(({ ready }) => ready, 'stroke="#bbb" stroke-width="1"'),
    line(({ desired }) => desired, 'stroke="#000" stroke-width="2"'),
    band(points, counts),
    times(end, counts),
    legend(metrics, points),
    "</svg>\n",
  ].join("\n");
}

function highest({ needs, forecast, floor, desired, ready }: SeriesPoint): number {
  return Math.max(desired, ready, forecast ?? 0, floor ?? 0, ...Object.values(needs));
}

function scaleOf(
  { top, height }: Panel,
  range: { readonly end: number; readonly top: number },
): Scale {
  return {
    x: (at) => round(LEFT + (range.end === 0 ? 0 : (at / range.end) * (WIDTH - LEFT - RIGHT))),
    y: (value) => round(top + height - (value / range.top) * height),
  };
}

/** Gaps stay gaps: a line is broken where there is no value. */
function polyline(
  points: readonly SeriesPoint[],
  {
    scale,
    pick,
    attributes,
  }: {
    readonly scale: Scale;
    readonly pick: (point: SeriesPoint) => number | null;
    readonly attributes: string;
  },
): string {
  let path = "";
  let pen = "M";
  for (const point of points) {
    const value = pick(point);
    if (value === null) {
      pen = "M";
      continue;
    }
    path += `${pen}${scale.x(point.at)} ${scale.y(value)}`;
    pen = "L";
  }
  return path === "" ? "" : `<path d="${path}" fill="none" ${attributes}/>`;
}

function axis(
  { top, height }: Panel,
  { scale, top: highestValue }: { readonly scale: Scale; readonly top: number },
): string {
  const lines = Array.from({ length: TICKS + 1 }, (_, index) => {
    const value = (highestValue * index) / TICKS;
    const y = scale.y(value);
    const label = `<text x="${LEFT - 6}" y="${y + 4}" text-anchor="end" fill="#555">${round(value)}</text>`;
    return `<path d="M${LEFT} ${y}H${WIDTH - RIGHT}" stroke="#eee"/>${label}`;
  });
  return `${lines.join("")}<path d="M${LEFT} ${top}V${top + height}" stroke="#999"/>`;
}

/** One rectangle for each stretch with the same limiter. */
function band(points: readonly SeriesPoint[], { x }: Scale): string {
  const rectangles: string[] = [];
  let from = 0;
  points.forEach((point, index) => {
    const next = points[index + 1];
    if (next !== undefined && next.limiter === point.limiter) return;
    const start = points[from]?.at ?? 0;
    from = index + 1;
    if (point.limiter === null) return;
    const width = Math.max(1, round(x(next?.at ?? point.at) - x(start)));
    rectangles.push(
      `<rect x="${x(start)}" y="${BAND.top}" width="${width}" height="${BAND.height}" fill="${limiterColours[point.limiter]}"><title>${point.limiter}</title></rect>`,
    );
  });
  return rectangles.join("");
}

function times(end: number, { x }: Scale): string {
  return Array.from({ length: TICKS + 1 }, (_, index) => {
    const at = (end * index) / TICKS;
    const label = end >= 7_200_000 ? `${round(at / 3_600_000)} h` : `${round(at / 60_000)} min`;
    return text({ x: x(at), y: BAND.top + 28, anchor: index === TICKS ? "end" : "middle" }, label);
  }).join("");
}

function legend(metrics: readonly string[], points: readonly SeriesPoint[]): string {
  const bound = [...new Set(points.flatMap(({ limiter }) => limiter ?? []))];
  const entries = [
    { label: "decided", colour: "#000" },
    { label: "ready", colour: "#bbb" },
    { label: "forecast", colour: "#e69f00" },
    ...metrics.map((metric, index) => ({
      label: `need by ${metric}`,
      colour: needColours[index % needColours.length] ?? "#000",
    })),
    ...bound.map((limiter) => ({ label: limiter, colour: limiterColours[limiter] })),
  ];
  const step = (WIDTH - LEFT - RIGHT) / entries.length;
  return entries
    .map(({ label, colour }, index) => {
      const x = round(LEFT + index * step);
      return `<rect x="${x}" y="${HEIGHT - 22}" width="10" height="10" fill="${colour}"/>${text({ x: x + 14, y: HEIGHT - 13 }, label)}`;
    })
    .join("");
}

function text(
  {
    x,
    y,
    anchor = "start",
  }: { readonly x: number; readonly y: number; readonly anchor?: "start" | "middle" | "end" },
  content: string,
): string {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}" fill="#333">${escape(content)}</text>`;
}

function escape(content: string): string {
  return content
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
