import { request } from "node:http";

import { Subscription } from "@strata/protocol/api/resources";

import type { Call } from "./api.ts";
import type { Instance } from "./instance.ts";
import { waitFor } from "./wait.ts";

/** The agent's default. */
const HTTP_PORT = "8080";
const ANSWER_TIMEOUT_MS = 15_000;

/** Where the ingress of this machine answers for a subscription; undefined when it does not, as on a machine whose
 * partition was told to be none. */
export async function findRoute(
  { settings }: Instance,
  api: Call,
  alias: string,
): Promise<string | undefined> {
  const answer = await api("GET", `/v1/subscriptions/${alias}`);
  const [host] = Subscription.parse(answer).status.hosts;
  if (host === undefined) return undefined;
  const port = settings["STRATA_INGRESS_HTTP"] ?? HTTP_PORT;
  const bind = settings["STRATA_INGRESS_BIND"]?.split(",")[0] ?? "127.0.0.1";
  const isThere = await waitFor(
    async () => ((await answers({ host: bind, port, headers: { host } })) ? true : undefined),
    { timeoutMs: ANSWER_TIMEOUT_MS },
  );
  return isThere && `http://${host}:${port}/`;
}

type Place = {
  readonly host: string;
  readonly port: string;
  readonly headers: { readonly host: string };
};

/** The name need not resolve: what counts is the header. */
function answers(place: Place): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const asked = request({ ...place, agent: false, timeout: 2000 }, (response) => {
    response.resume();
    resolve(response.statusCode === 200);
  });
  asked.on("error", () => resolve(false));
  asked.on("timeout", () => asked.destroy());
  asked.end();
  return promise;
}
