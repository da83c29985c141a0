import { RetentionPolicyInput } from "@strata/protocol/api/store-rules";
/** The file of settings of the store on its own, YAML or JSON. */
import { isRepository } from "@strata/protocol/oci/reference";
import { Bytes, DurationMs } from "@strata/protocol/units";
import { parse } from "yaml";
import { z } from "zod";

import { GLOB_LENGTH_MAX } from "../glob.ts";
import type { UpkeepSettings } from "../maintain/job.ts";
import type { MirrorRule } from "../mirror/rules.ts";
import type { FindQuota } from "../quota.ts";
import type { RetentionPolicy } from "../retention.ts";
import { readFileIfThere } from "./durable-file.ts";
import { ServeError } from "./errors.ts";

export type StoreConfig = {
  readonly mirrors: readonly MirrorRule[];
  readonly upkeep: UpkeepSettings;
  readonly quota: FindQuota;
};

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
const Pattern = z.string().min(1).max(GLOB_LENGTH_MAX);
const Patterns = z.array(Pattern).min(1).max(1_000);
const Path = z.string().min(1);

/** Timers of Node wait no longer. */
const Interval = DurationMs.refine((ms) => ms >= MINUTE_MS && ms <= 24 * DAY_MS, {
  error: "is 1m to 24d",
});

const Prefix = z
  .string()
  .refine((text) => text === "" || isRepository(text), "is no repository name");

const Sync = z.strictObject({
  repositories: Patterns,
  tags: Patterns.default(["*"]),
  every: Interval.default(DAY_MS),
  referrers: z.boolean().default(true),
});

const Mirror = z.strictObject({
  prefix: Prefix,
  upstream: z.string().refine((text) => toOrigin(text) !== undefined, "is no http or https origin"),
  hosts: z.array(Pattern).max(100).default([]),
  username: z.string().min(1).optional(),
  passwordFile: Path.optional(),
  caFile: Path.optional(),
  repositories: Patterns.default(["*"]),
  tagTtl: DurationMs.default(5 * MINUTE_MS),
  offline: z.boolean().default(false),
  sync: z.array(Sync).max(100).default([]),
});

const mirrors = z.array(Mirror).max(1_000).default([]);
const Mirrors = z.strictObject({ mirrors });

const Config = z.strictObject({
  mirrors,
  garbage: z
    .strictObject({
      every: Interval.default(DAY_MS),
      grace: DurationMs.default(DAY_MS),
      retention: z.array(RetentionPolicyInput).max(1_000).default([]),
    })
    .prefault({}),
  quotas: z
    .array(z.strictObject({ prefix: Prefix, bytes: Bytes }))
    .max(10_000)
    .default([]),
  scrub: z
    .strictObject({ every: DurationMs.default(7 * DAY_MS), rate: Bytes.default(20 * 1024 ** 2) })
    .prefault({}),
});

/** `undefined` stands for no file. @throws ServeError CONFIG_INVALID, naming what is wrong where */
export function readConfig(path: string | undefined): StoreConfig {
  const config = path === undefined ? Config.parse({}) : parseFile(path, Config);
  return {
    mirrors: toRules(config.mirrors, path ?? ""),
    upkeep: toUpkeep(config),
    quota: toFindQuota(config.quotas),
  };
}

/** For embedders with settings of their own for all else: a file with `mirrors` alone.
 * @throws ServeError CONFIG_INVALID */
export function readMirrors(path: string): readonly MirrorRule[] {
  return toRules(parseFile(path, Mirrors).mirrors, path);
}

function parseFile<Schema extends z.ZodType>(path: string, schema: Schema): z.output<Schema> {
  const text = requireText(path);
  let value: unknown;
  try {
    value = parse(text);
  } catch (cause) {
    throw invalid(path, "it is no YAML", cause);
  }
  const result = schema.safeParse(value ?? {});
  if (result.success) return result.data;
  throw invalid(path, z.prettifyError(result.error), result.error);
}

function toRules(entries: z.output<typeof mirrors>, path: string): readonly MirrorRule[] {
  const rules = entries.map((mirror) => toRule(mirror));
  const prefixes = new Set(rules.map(({ prefix }) => prefix));
  if (prefixes.size < rules.length) throw invalid(path, "two mirrors have the same prefix");
  return rules;
}

function toUpkeep({ garbage, scrub }: z.output<typeof Config>): UpkeepSettings {
  return {
    collectEveryMs: garbage.every,
    graceMs: garbage.grace,
    policies: garbage.retention.map(toPolicy),
    scrubEveryMs: scrub.every,
    bytesPerSecondMax: scrub.rate,
  };
}

/** The longest prefix that holds the repository decides. */
function toFindQuota(quotas: z.output<typeof Config>["quotas"]): FindQuota {
  const sorted = quotas
    .map(({ prefix, bytes }) => ({ prefix, bytesMax: bytes }))
    .toSorted((a, b) => b.prefix.length - a.prefix.length);
  return (repository) =>
    sorted.find(
      ({ prefix }) => prefix === "" || repository === prefix || repository.startsWith(`${prefix}/`),
    );
}

function toPolicy({
  repositories,
  keepLast,
  keepTags,
  keepPulledWithin,
  keepUntagged,
}: z.output<typeof RetentionPolicyInput>): RetentionPolicy {
  return {
    repositories,
    keepUntagged,
    ...(keepLast === undefined ? {} : { keepLast }),
    ...(keepTags === undefined ? {} : { keepTags }),
    ...(keepPulledWithin === undefined ? {} : { keepPulledWithinMs: keepPulledWithin }),
  };
}

function toRule(mirror: z.output<typeof Mirror>): MirrorRule {
  const { prefix, hosts, username, passwordFile, caFile, repositories, tagTtl, offline } = mirror;
  if ((username === undefined) !== (passwordFile === undefined)) {
    throw invalid(`mirror ${prefix}`, "username and passwordFile belong together");
  }
  return {
    prefix,
    upstream: toOrigin(mirror.upstream) ?? mirror.upstream,
    hosts,
    repositories,
    offline,
    credentials:
      username === undefined || passwordFile === undefined
        ? undefined
        : { name: username, password: requireText(passwordFile).trim() },
    ca: caFile === undefined ? undefined : requireText(caFile),
    tagTtlMs: tagTtl,
    sync: mirror.sync.map(({ every, ...rule }) => ({ ...rule, everyMs: every })),
  };
}

/** Undefined for what has a path, a user or another scheme. */
function toOrigin(text: string): string | undefined {
  const url = URL.parse(text);
  const isOrigin =
    url !== null &&
    /^https?:$/.test(url.protocol) &&
    `${url.pathname}${url.search}${url.hash}${url.username}` === "/";
  return isOrigin ? url.origin : undefined;
}

function requireText(path: string): string {
  let text: string | undefined;
  try {
    text = readFileIfThere(path);
  } catch (cause) {
    throw invalid(path, "it cannot be read", cause);
  }
  if (text !== undefined) return text;
  throw invalid(path, "there is no such file");
}

function invalid(path: string, what: string, cause?: unknown): ServeError {
  return new ServeError("CONFIG_INVALID", `${path}: ${what}`, {
    ...(cause === undefined ? {} : { cause }),
    hint: "docs/reference/store-serve.md says what may stand in it",
  });
}
