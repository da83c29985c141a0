import { z } from "zod";

import { ParseError } from "./coded-error.ts";

export { formatBytes } from "./format-bytes.ts";

const byteUnits: Readonly<Record<string, number>> = {
  "": 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 1024,
  Mi: 1024 ** 2,
  Gi: 1024 ** 3,
  Ti: 1024 ** 4,
};
const durationUnitsMs: Readonly<Record<string, number>> = {
  "": 1000,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

function scale(
  text: string | number,
  units: Readonly<Record<string, number>>,
  what: string,
): number {
  const match = /^(\d+(?:\.\d+)?)([A-Za-z]*)$/.exec(String(text).trim());
  const name = match?.[2] ?? "";
  const unit = Object.hasOwn(units, name) ? units[name] : undefined;
  if (match === null || unit === undefined) {
    const known = Object.keys(units).filter((known) => known !== "");
    throw new ParseError(`${JSON.stringify(text)} is not ${what}`, {
      hint: `write a number, with one of the units ${known.join(", ")} if you like`,
    });
  }
  const value = Math.round(Number(match[1]) * unit);
  if (!Number.isSafeInteger(value)) throw new ParseError(`${JSON.stringify(text)} is too large`);
  return value;
}

/** Bytes of `1048576`, `"512Mi"` (binary) or `"500M"` (decimal).
 * @throws ParseError */
export function parseBytes(text: string | number): number {
  return scale(text, byteUnits, "a size");
}

/** Milliseconds of `30` (seconds) or `"30s"`, `"250ms"`, `"5m"`, `"2h"`, `"14d"`.
 * @throws ParseError */
export function parseDurationMs(text: string | number): number {
  return scale(text, durationUnitsMs, "a duration");
}

/** Thousandths of a processor of `0.5` (processors) or `"500m"`.
 * @throws ParseError */
export function parseCpuMillis(text: string | number): number {
  return scale(text, { "": 1000, m: 1 }, "a share of processors");
}

function quantity(parse: (text: string | number) => number): z.ZodType<number, string | number> {
  return z.union([z.number(), z.string()]).transform((text, context) => {
    try {
      return parse(text);
    } catch (error) {
      context.addIssue({
        code: "custom",
        message: error instanceof Error ? error.message : String(error),
      });
      return z.NEVER;
    }
  });
}

/** A size in a request: bytes, or text with a unit. Parsed to bytes. */
export const Bytes = quantity(parseBytes);
/** A duration in a request: seconds, or text with a unit. Parsed to milliseconds. */
export const DurationMs = quantity(parseDurationMs);
/** A share of processors in a request: `0.5` or `"500m"`. Parsed to thousandths. */
export const CpuMillis = quantity(parseCpuMillis);
