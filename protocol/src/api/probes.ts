/** Health probes as people write and read them. */
import { z } from "zod";

import { DurationMs } from "../units.ts";

const INTERVAL_MS_MAX = 3_600_000;
const TIMEOUT_MS_MAX = 600_000;
const SECOND_MS = 1000;

function duration({
  leastMs,
  mostMs,
}: {
  readonly leastMs: number;
  readonly mostMs: number;
}): typeof DurationMs {
  return DurationMs.refine(
    (ms) => ms >= leastMs && ms <= mostMs,
    `between ${leastMs / SECOND_MS}s and ${mostMs / SECOND_MS}s`,
  );
}

const networkTiming = {
  interval: duration({ leastMs: 100, mostMs: INTERVAL_MS_MAX }).default(2000),
  timeout: duration({ leastMs: 10, mostMs: TIMEOUT_MS_MAX }).default(1000),
};
/** To start a program costs far more than to open a connection. */
const execTiming = {
  interval: duration({ leastMs: SECOND_MS, mostMs: INTERVAL_MS_MAX }).default(10_000),
  timeout: duration({ leastMs: 100, mostMs: TIMEOUT_MS_MAX }).default(5000),
};

const port = z.int().min(1).max(65535);
const path = z
  .string()
  .regex(/^\/[\u0021-\u00ff]*$/, "begin with / and write other characters as %XX")
  .max(1024)
  .default("/");
const HeaderName = z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/, "not a header's name");
const HeaderText = z.string().regex(/^[\u0020-\u007e\t]{0,1024}$/, "not a header's text");
const headers = z
  .record(HeaderName, HeaderText)
  .refine((all) => Object.keys(all).length <= 16, "at most 16 headers")
  .optional();
const command = z
  .array(
    z
      .string()
      .max(4096)
      .refine((word) => !word.includes("\0"), "NUL is not allowed"),
  )
  .min(1)
  .max(64);

const http = { kind: z.literal("http").default("http"), port, path, headers, ...networkTiming };
const tcp = { kind: z.literal("tcp"), port, ...networkTiming };
const exec = { kind: z.literal("exec"), command, ...execTiming };
const none = z.strictObject({ kind: z.literal("none") });

const failures = { failureThreshold: z.int().min(1).max(100).default(3) };
/** Readiness alone can come back, and so be asked for more than once. */
const bothWays = { ...failures, successThreshold: z.int().min(1).max(100).optional() };
const patient = { failureThreshold: z.int().min(1).max(10_000).default(30) };

/** Whether a process is ready. `kind: none`: as soon as it runs, whatever the cartridge or the image says. */
export const HealthInput = z.discriminatedUnion("kind", [
  z.strictObject({ ...http, ...bothWays }),
  z.strictObject({ ...tcp, ...bothWays }),
  z.strictObject({ ...exec, ...bothWays }),
  none,
]);

/** Whether a process has started. It has `interval` times `failureThreshold` for that. */
export const StartupInput = z.discriminatedUnion("kind", [
  z.strictObject({ ...http, ...patient }),
  z.strictObject({ ...tcp, ...patient }),
  z.strictObject({ ...exec, ...patient }),
  none,
]);

/** Whether a process is to be started again. */
export const LivenessInput = z.discriminatedUnion("kind", [
  z.strictObject({ ...http, ...failures }),
  z.strictObject({ ...tcp, ...failures }),
  z.strictObject({ ...exec, ...failures }),
  none,
]);

export type ProbeInput =
  | z.output<typeof HealthInput>
  | z.output<typeof StartupInput>
  | z.output<typeof LivenessInput>;

const shownTiming = {
  /** Seconds. */
  interval: z.number(),
  timeout: z.number(),
  failureThreshold: z.int(),
  successThreshold: z.int().optional(),
};
export const ProbeShown = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("http"),
    port: z.int(),
    path: z.string(),
    headers: z.record(z.string(), z.string()).optional(),
    ...shownTiming,
  }),
  z.object({ kind: z.literal("tcp"), port: z.int(), ...shownTiming }),
  z.object({ kind: z.literal("exec"), command: z.array(z.string()), ...shownTiming }),
  z.object({ kind: z.literal("none") }),
]);
export type ProbeShown = z.infer<typeof ProbeShown>;
