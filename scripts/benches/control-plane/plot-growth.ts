/** Figures by the number of nodes as one SVG: three panels over the same axis, whose steps are factors. Pure. */
export type Growth = {
  readonly nodes: number;
  readonly processes: number;
  readonly placementsPerSecond: number;
  /** Processor time of the controller for one placement. */
  readonly cpuUsEach: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly rssMib: number;
};

const WIDTH = 720;
const LEFT = 64;
const RIGHT = 24;
const PANEL = { height: 110, gap: 46, top: 34 };

type Panel = {
  readonly title: string;
  readonly pick: (growth: Growth) => number;
};

const panels: readonly Panel[] = [
  { title: "placements a second", pick: ({ placementsPerSecond }) => placementsPerSecond },
  { title: "API p99, ms", pick: ({ p99Ms }) => p99Ms },
  { title: "memory of the controller, MiB", pick: ({ rssMib }) => rssMib },
];

/** Several rounds of one size are several points, joined through their mean. */
export function plotGrowth(growth: readonly Growth[]): string {
  const sizes = [...new Set(growth.map(({ nodes }) => nodes))].toSorted((a, b) => a - b);
  const height = PANEL.top + panels.length * (PANEL.height + PANEL.gap);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">`,
    `<title>control plane by number of nodes</title><rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    ...panels.map((panel, index) => plotPanel(growth, { panel, sizes, index })),
    "</svg>",
  ].join("\n");
}

type Place = { readonly panel: Panel; readonly sizes: readonly number[]; readonly index: number };

function plotPanel(growth: readonly Growth[], { panel, sizes, index }: Place): string {
  const top = PANEL.top + index * (PANEL.height + PANEL.gap);
  const bottom = top + PANEL.height;
  const most = Math.max(1, ...growth.map(panel.pick)) * 1.1;
  const x = (nodes: number): number => LEFT + logShare(sizes, nodes) * (WIDTH - LEFT - RIGHT);
  const y = (value: number): number => bottom - (value / most) * PANEL.height;
  const means = sizes.map((nodes) => {
    const values = growth.filter((one) => one.nodes === nodes).map(panel.pick);
    return { nodes, mean: values.reduce((sum, value) => sum + value, 0) / values.length };
  });
  const line = means.map(({ nodes, mean }) => `${round(x(nodes))},${round(y(mean))}`).join(" ");
  return [
    `<text x="${LEFT}" y="${top - 8}">${panel.title}</text>`,
    `<path d="M${LEFT} ${top}V${bottom}H${WIDTH - RIGHT}" fill="none" stroke="#999"/>`,
    `<text x="${LEFT - 6}" y="${bottom}" text-anchor="end">0</text>`,
    `<polyline points="${line}" fill="none" stroke="#0072b2" stroke-width="2"/>`,
    ...growth.map(
      (one) =>
        `<circle cx="${round(x(one.nodes))}" cy="${round(y(panel.pick(one)))}" r="3" fill="#0072b2"/>`,
    ),
    ...means.flatMap(({ nodes, mean }) => [
      `<text x="${round(x(nodes))}" y="${bottom + 16}" text-anchor="middle">${nodes}</text>`,
      `<text x="${round(x(nodes))}" y="${round(y(mean)) - 8}" text-anchor="middle" fill="#555">${label(mean)}</text>`,
    ]),
  ].join("\n");
}

function logShare(sizes: readonly number[], nodes: number): number {
  const [least = 1, most = 1] = [sizes[0], sizes.at(-1)];
  return most === least ? 0.5 : Math.log(nodes / least) / Math.log(most / least);
}

function label(value: number): string {
  return value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(2)));
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
