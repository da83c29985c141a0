/** API tokens: made, shown, rotated. */
import { z } from "zod";

import { scopes } from "../access.ts";
import { Name } from "../names.ts";
import { DurationMs } from "../units.ts";

const OVERLAP_MS_MAX = 30 * 24 * 3_600_000;

/** Requests that a token may send in a minute; 0 is no limit. */
const RatePerMinute = z.int().min(0).max(1_000_000);

export const TokenInput = z.strictObject({
  name: Name,
  scope: z.enum(scopes).exclude(["agent"]),
  tenant: Name.default("default"),
  expiresIn: DurationMs.optional(),
  /** Left out, the installation's. */
  ratePerMinute: RatePerMinute.optional(),
});
export const TokenResource = z.object({
  id: z.string(),
  name: Name,
  scope: z.enum(scopes),
  tenant: Name,
  ratePerMinute: z.int().nullable(),
  createdAt: z.iso.datetime(),
  expiresAt: z.iso.datetime().nullable(),
  lastUsedAt: z.iso.datetime().nullable(),
  /** Until when the secret before the last rotation is good; null when it is not. */
  previousExpiresAt: z.iso.datetime().nullable(),
});
export type TokenResource = z.infer<typeof TokenResource>;

/** The only answer that ever shows the token. */
export const TokenCreated = TokenResource.extend({ token: z.string() });
export type TokenCreated = z.infer<typeof TokenCreated>;

export const RotateInput = z.strictObject({
  /** For so long the old secret is good beside the new one, at most 30 days. */
  overlap: DurationMs.refine((ms) => ms <= OVERLAP_MS_MAX, "at most 30d").default(0),
  /** A new end of life; left out, the token's end stays. */
  expiresIn: DurationMs.optional(),
});
