/** An OIDC issuer on loopback, with keys of its own. */
import { exportJWK, generateKeyPair, SignJWT } from "jose";

import { aLoopbackServer } from "./loopback-server.ts";

export type OidcIssuer = AsyncDisposable & {
  readonly url: string;
  /** Signed by the newest key; an hour from `nowMs` on, for the audience `strata`, unless the claims say otherwise. */
  readonly sign: (claims: Readonly<Record<string, unknown>>) => Promise<string>;
  /** From now on there is another key, and the old one is gone. */
  readonly rotate: () => Promise<void>;
  /** Answers 500 to everything, or no more. */
  readonly setDown: (isDown: boolean) => void;
  /** Fetches of the keys. */
  readonly fetches: () => number;
};

type Key = { readonly kid: string; readonly privateKey: CryptoKey; readonly jwk: object };

export async function anOidcIssuer(nowMs: () => number): Promise<OidcIssuer> {
  let count = 0;
  const newKey = async (): Promise<Key> => {
    const kid = `key-${(count += 1)}`;
    const { publicKey, privateKey } = await generateKeyPair("ES256");
    return { kid, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg: "ES256" } };
  };
  const state = { key: await newKey(), isDown: false, fetches: 0, url: "" };
  const server = await aLoopbackServer((request, response) => {
    if (request.url === "/keys") state.fetches += 1;
    if (state.isDown) return void response.writeHead(500).end();
    const body =
      request.url === "/keys"
        ? { keys: [state.key.jwk] }
        : { issuer: state.url, jwks_uri: `${state.url}/keys` };
    return void response.end(JSON.stringify(body));
  });
  state.url = server.url;
  return {
    url: state.url,
    sign: (claims) => {
      const seconds = Math.floor(nowMs() / 1000);
      return new SignJWT({
        iss: state.url,
        aud: "strata",
        sub: "somebody",
        exp: seconds + 3600,
        ...claims,
      })
        .setProtectedHeader({ alg: "ES256", kid: state.key.kid })
        .sign(state.key.privateKey);
    },
    rotate: async () => {
      state.key = await newKey();
    },
    setDown: (isDown) => {
      state.isDown = isDown;
    },
    fetches: () => state.fetches,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}
