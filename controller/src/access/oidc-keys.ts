/** The keys of an OIDC issuer: found by its discovery document (OpenID Connect Discovery 1.0, section 4), fetched when they
 * are needed, and kept when the issuer is away. */
import { createLocalJWKSet, type JSONWebKeySet } from "jose";
import { z } from "zod";

import { ControllerError } from "../errors.ts";

export type FindKey = ReturnType<typeof createLocalJWKSet>;

export type OidcKeys = {
  /** The keys that are known. `isUnknown` says that the one that was looked for is not among them: they are fetched
   * again then, at most once a minute.
   * @throws ControllerError ISSUER_UNREACHABLE when there are none at all */
  readonly get: (options?: { readonly isUnknown: boolean }) => Promise<FindKey>;
};

export type OidcKeysOptions = {
  readonly issuer: string;
  readonly monotonicMs: () => number;
};

/** After so long keys are fetched anew, so that one that was withdrawn ends. */
const FRESH_MS = 3_600_000;
/** From one try to the next, whether it went well or not. */
const COOL_DOWN_MS = 60_000;
/** Keys that could not be fetched anew are good for so long. */
const STALE_MS_MAX = 24 * 3_600_000;
const TIMEOUT_MS = 5000;
const ANSWER_BYTES_MAX = 1024 * 1024;

const Discovery = z.looseObject({ issuer: z.string(), jwks_uri: z.string() });
const KeySet = z.looseObject({ keys: z.array(z.looseObject({ kty: z.string() })).max(1000) });

type Fetched = { readonly keys: FindKey; readonly atMs: number };

export function createOidcKeys({ issuer, monotonicMs }: OidcKeysOptions): OidcKeys {
  let fetched: Fetched | undefined;
  let triedAtMs = -Infinity;
  let failure: unknown;
  let underWay: Promise<void> | undefined;

  const refresh = async (): Promise<void> => {
    triedAtMs = monotonicMs();
    try {
      fetched = { keys: createLocalJWKSet(await fetchKeys(issuer)), atMs: monotonicMs() };
      failure = undefined;
    } catch (error) {
      failure = error;
    }
  };
  return {
    get: async ({ isUnknown } = { isUnknown: false }) => {
      const isFresh = fetched !== undefined && monotonicMs() - fetched.atMs < FRESH_MS;
      if ((isUnknown || !isFresh) && monotonicMs() - triedAtMs >= COOL_DOWN_MS) {
        // Everybody who asks meanwhile waits for the same fetch.
        underWay ??= refresh().finally(() => {
          underWay = undefined;
        });
      }
      await underWay;
      if (fetched !== undefined && monotonicMs() - fetched.atMs < STALE_MS_MAX) return fetched.keys;
      throw new ControllerError("ISSUER_UNREACHABLE", `the keys of ${issuer} are not to be had`, {
        cause: failure,
        retryable: true,
        hint: "try again in a minute; tokens of POST /v1/tokens go on working. The controller must reach the issuer's /.well-known/openid-configuration",
      });
    },
  };
}

async function fetchKeys(issuer: string): Promise<JSONWebKeySet> {
  const document = Discovery.parse(
    await fetchJson(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`),
  );
  if (document.issuer !== issuer)
    throw new Error(`the discovery document is that of ${document.issuer.slice(0, 200)}`);
  if (!isTrustedUrl(document.jwks_uri))
    throw new Error("the keys are neither behind https nor on this machine");
  return KeySet.parse(await fetchJson(document.jwks_uri));
}

/** Plain HTTP only to this machine: whoever can change the keys on their way can be anybody. */
export function isTrustedUrl(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || url.username !== "" || url.hash !== "") return false;
  if (url.protocol === "https:") return true;
  return url.protocol === "http:" && /^(localhost|127\.0\.0\.\d+|\[::1\])$/.test(url.hostname);
}

async function fetchJson(url: string): Promise<unknown> {
  const answer = await fetch(url, {
    redirect: "error",
    signal: AbortSignal.timeout(TIMEOUT_MS),
    headers: { accept: "application/json" },
  });
  if (!answer.ok || answer.body === null) throw new Error(`${url} answered ${answer.status}`);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of answer.body) {
    size += chunk.byteLength;
    if (size > ANSWER_BYTES_MAX) throw new Error(`${url} answered more than it may`);
    chunks.push(chunk);
  }
  return JSON.parse(Buffer.concat(chunks).toString("utf8"));
}
