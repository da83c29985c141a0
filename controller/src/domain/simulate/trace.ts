/** Recorded loads as text: CSV with the columns `seconds,value`, or the same as JSON. */
import { ParseError } from "@strata/protocol/errors";
import { z } from "zod";

export type TraceSample = {
  /** Milliseconds since the start of the trace. */
  readonly at: number;
  readonly value: number;
};

/** Samples by the name of their trace, each in order of time and not empty. */
export type Traces = Readonly<Record<string, readonly TraceSample[]>>;

/** More would be no trace but a log. */
const SAMPLES_MAX = 1_000_000;

const Row = z.tuple([z.number().min(0), z.number().min(0)]);

/** Lines `seconds,value` after an optional header; `#` begins a comment.
 * @throws ParseError naming the line */
export function parseTraceCsv(text: string): readonly TraceSample[] {
  const rows = text
    .split("\n")
    .map((line, index) => ({ line: line.trim(), number: index + 1 }))
    .filter(({ line }) => line !== "" && !line.startsWith("#"));
  const body =
    rows[0] !== undefined && /^[a-z_]+,[a-z_]+$/i.test(rows[0].line) ? rows.slice(1) : rows;
  return toSamples(
    body.map(({ line, number }) => {
      const match = /^(\d+(?:\.\d+)?),(\d+(?:\.\d+)?)$/.exec(line);
      if (match === null) {
        throw new ParseError(
          `line ${number} of the trace is ${JSON.stringify(line.slice(0, 80))}`,
          {
            hint: "write seconds,value: two numbers of zero or more",
          },
        );
      }
      return [Number(match[1]), Number(match[2])];
    }),
  );
}

/** `[[seconds, value], …]`.
 * @throws ParseError */
export function parseTraceJson(text: string): readonly TraceSample[] {
  try {
    return toSamples(z.array(Row).parse(JSON.parse(text)));
  } catch (cause) {
    if (cause instanceof ParseError) throw cause;
    throw new ParseError("the trace is not a JSON list of pairs [seconds, value]", { cause });
  }
}

function toSamples(rows: readonly (readonly number[])[]): readonly TraceSample[] {
  if (rows.length === 0 || rows.length > SAMPLES_MAX) {
    throw new ParseError(`the trace has ${rows.length} samples`, {
      hint: `give 1 to ${SAMPLES_MAX}`,
    });
  }
  const samples = rows.map(([seconds = 0, value = 0]) => ({ at: seconds * 1000, value }));
  const unordered = samples.findIndex(
    ({ at }, index) => index > 0 && at <= (samples[index - 1]?.at ?? 0),
  );
  if (unordered > 0) {
    throw new ParseError(
      `sample ${unordered + 1} of the trace is not later than the one before it`,
    );
  }
  return samples;
}
