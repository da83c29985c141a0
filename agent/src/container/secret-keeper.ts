import { mkdirSync, readdirSync, readFileSync, rmSync, statfsSync } from "node:fs";
import { join } from "node:path";

import type { ProcessSpec, SecretReference } from "@strata/protocol/agent/messages";
import { getErrorCode } from "@strata/protocol/errors";

import { replaceFile } from "../durable-file.ts";
import { AgentError } from "../errors.ts";
import { listSecrets, secretKey } from "./contents-plan.ts";

/** By `secretKey`. */
export type SecretValues = ReadonlyMap<string, Buffer>;

/** Gives the value of a secret, from the controller. */
export type SecretSource = (
  secret: SecretReference & { readonly tenant: string },
  signal: AbortSignal,
) => Promise<Buffer>;

type Spec = Pick<ProcessSpec, "tenant" | "files" | "secretEnv">;

/** The values of secrets that this node's processes need, so that one that crashed starts again while the controller is
 * away. In memory; and, where the agent's run folder is in memory too, in files of root alone, so that they outlive the
 * agent. A reboot forgets them all. */
export type SecretKeeper = {
  /** All that the process needs.
   * @throws AgentError SECRET_UNAVAILABLE, to be tried again. */
  readonly fetch: (spec: Spec, signal: AbortSignal) => Promise<SecretValues>;
  /** What is kept of them, without asking anybody. */
  readonly recall: (spec: Spec) => SecretValues;
  /** Forgets all that none of these needs. */
  readonly retain: (specs: readonly Spec[]) => void;
};

export type SecretKeeperOptions = {
  readonly source: SecretSource;
  /** Used only where it is in memory. */
  readonly folder: string;
};

const FETCH_MS_MAX = 10_000;
/** linux/magic.h */
const TMPFS_MAGIC = 0x01021994;

export function createSecretKeeper({ source, folder }: SecretKeeperOptions): SecretKeeper {
  const values = new Map<string, Buffer>();
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const isLasting = isInMemory(folder);
  if (isLasting)
    for (const name of readdirSync(folder)) values.set(name, readFileSync(join(folder, name)));

  const fetchOne = async (
    tenant: string,
    secret: SecretReference,
    signal: AbortSignal,
  ): Promise<Buffer> => {
    const key = keyOf(tenant, secret);
    const known = values.get(key);
    if (known !== undefined) return known;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(FETCH_MS_MAX)]);
    const value = await source({ tenant, ...secret }, limit).catch((cause: unknown) => {
      throw unavailable(secret, cause);
    });
    values.set(key, value);
    if (isLasting) replaceFile(join(folder, key), value);
    return value;
  };

  return {
    fetch: async (spec, signal) => {
      const found = listSecrets(spec).map(
        async (secret) => [secretKey(secret), await fetchOne(spec.tenant, secret, signal)] as const,
      );
      return new Map(await Promise.all(found));
    },
    recall: (spec) =>
      new Map(
        listSecrets(spec).flatMap((secret) => {
          const value = values.get(keyOf(spec.tenant, secret));
          return value === undefined ? [] : [[secretKey(secret), value] as const];
        }),
      ),
    retain: (specs) => {
      if (values.size === 0) return;
      const needed = new Set(
        specs.flatMap((spec) => listSecrets(spec).map((secret) => keyOf(spec.tenant, secret))),
      );
      for (const key of values.keys()) {
        if (needed.has(key)) continue;
        values.delete(key);
        if (isLasting) rmSync(join(folder, key), { force: true });
      }
    },
  };
}

/** Labels of RFC 1123 have no dots. */
function keyOf(tenant: string, secret: SecretReference): string {
  return `${tenant}.${secretKey(secret)}`;
}

/** Whether what is written there is gone at a reboot, and on no disk until then. */
export function isInMemory(folder: string): boolean {
  return statfsSync(folder).type === TMPFS_MAGIC;
}

/** The controller's own words say nothing of the value. */
function unavailable({ name, version }: SecretReference, cause: unknown): AgentError {
  const reason = cause instanceof Error ? cause.message : getErrorCode(cause);
  return new AgentError(
    "SECRET_UNAVAILABLE",
    `version ${version} of secret ${name} could not be had: ${reason}`,
    {
      cause,
      retryable: true,
      hint: "the process starts as soon as the controller answers; see docs/reference/secrets.md",
    },
  );
}
