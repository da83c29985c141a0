/** Access tokens of an upstream, as the distribution token specification has it. */
import { z } from "zod";

import { followAddress } from "./address.ts";
import type { Challenge } from "./challenge.ts";
import { faulty } from "./errors.ts";
import type { MirrorRule } from "./rules.ts";

export type SendRequest = (request: {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}) => Promise<{ readonly status: number; readonly text: () => Promise<string> }>;

export type UpstreamTokens = {
  /** The `Authorization` header for this scope, if one is known already. */
  readonly known: (scope: string) => string | undefined;
  /** Answers a challenge. Undefined when there is nothing to answer it with. @throws RegistryError UPSTREAM_… */
  readonly answer: (
    challenge: Challenge,
    request: { readonly scope: string; readonly signal: AbortSignal },
  ) => Promise<string | undefined>;
};

export type UpstreamTokenOptions = {
  readonly rule: MirrorRule;
  readonly send: SendRequest;
  readonly clock: () => number;
};

const TokenAnswer = z.object({
  token: z.string().optional(),
  access_token: z.string().optional(),
  expires_in: z.number().optional(),
});

const KNOWN_MAX = 1_000;
/** The specification's own, where the answer says nothing. */
const LIFE_SECONDS = 60;
const LIFE_SECONDS_MAX = 3_600;

export function createUpstreamTokens(options: UpstreamTokenOptions): UpstreamTokens {
  const { rule, clock } = options;
  const known = new Map<string, { readonly header: string; readonly until: number }>();
  const { credentials } = rule;
  const basic =
    credentials === undefined
      ? undefined
      : `Basic ${Buffer.from(`${credentials.name}:${credentials.password}`).toString("base64")}`;
  return {
    known: (scope) => {
      const entry = known.get(scope);
      return entry !== undefined && entry.until > clock() ? entry.header : undefined;
    },
    answer: async (challenge, { scope, signal }) => {
      if (challenge.scheme === "basic") {
        if (basic !== undefined) known.set(scope, { header: basic, until: Infinity });
        return basic;
      }
      const { token, lifeSeconds } = await fetchToken(options, { challenge, scope, basic, signal });
      const header = `Bearer ${token}`;
      const [oldest] = known.keys();
      if (known.size >= KNOWN_MAX && oldest !== undefined) known.delete(oldest);
      // A tenth earlier, so that none expires on its way.
      known.set(scope, { header, until: clock() + lifeSeconds * 900 });
      return header;
    },
  };
}

type Wanted = {
  readonly challenge: Extract<Challenge, { readonly scheme: "bearer" }>;
  readonly scope: string;
  readonly basic: string | undefined;
  readonly signal: AbortSignal;
};

async function fetchToken(
  { rule, send }: UpstreamTokenOptions,
  { challenge, scope, basic, signal }: Wanted,
): Promise<{ readonly token: string; readonly lifeSeconds: number }> {
  const url = followAddress(rule, challenge.realm, rule.upstream);
  if (challenge.service !== undefined) url.searchParams.set("service", challenge.service);
  url.searchParams.set("scope", challenge.scope ?? scope);
  const headers = basic === undefined ? {} : { authorization: basic };
  const answer = await send({ url, headers, signal });
  const body = await answer.text();
  if (answer.status !== 200) {
    throw faulty(rule.upstream, `it gives no access token for ${scope}: status ${answer.status}`);
  }
  const parsed = TokenAnswer.safeParse(parseJson(body));
  const token = parsed.data?.token ?? parsed.data?.access_token;
  // What goes into a header must not end it.
  if (token === undefined || !/^[\x21-\x7e]+$/.test(token)) {
    throw faulty(rule.upstream, "its token endpoint gives something else than a token");
  }
  const seconds = parsed.data?.expires_in ?? LIFE_SECONDS;
  return { token, lifeSeconds: Math.min(Math.max(seconds, 0), LIFE_SECONDS_MAX) };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
