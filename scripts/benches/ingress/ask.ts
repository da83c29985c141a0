/** One request through the ingress of an installation. */
import { request } from "node:http";

import type { Instance } from "../../instance/instance.ts";

const ANSWER_MS = 60_000;

/** The status; 0 when there was no answer. On a connection of its own, as of a new client. */
export function askIngress({ settings }: Instance, alias: string): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  const asked = request(
    {
      host: "127.0.0.1",
      port: settings["STRATA_INGRESS_HTTP"] ?? "8080",
      headers: { host: `${alias}.default.localhost` },
      agent: false,
      timeout: ANSWER_MS,
    },
    (response) => {
      response.resume();
      response.once("end", () => resolve(response.statusCode ?? 0));
    },
  );
  asked.on("error", () => resolve(0));
  asked.on("timeout", () => asked.destroy());
  asked.end();
  return promise;
}
