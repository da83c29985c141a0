import { join } from "node:path";

import type { Instance } from "./instance.ts";
import type { Context } from "./start-service.ts";

/** What `up` prints at its end: where things are and what to try next. */
export function describeInstance(
  { instance, keeper }: Context,
  { hello, route }: { readonly hello: string; readonly route: string | undefined },
): string {
  const { data, url, settings } = instance;
  const environment = environmentOf(instance);
  return `
  hello        ${route ?? hello}${route === undefined ? "" : `   (its process: ${hello})`}
  API          ${url}   (TLS for other machines: port ${settings["STRATA_PORT"]})
  admin token  ${join(data, "admin-token")}
  logs         ${keeper.logCommand("controller")}
               ${keeper.logCommand("agent")}

Try:
  token=$(cat ${join(data, "admin-token")})
  curl ${route ?? hello}
  curl -H "Authorization: Bearer $token" ${url}/v1/subscriptions/hello
  curl -H "Authorization: Bearer $token" -X POST -d '{"processes":3}' \\
    -H 'Content-Type: application/json' ${url}/v1/subscriptions/hello/scale
  curl -H "Authorization: Bearer $token" ${url}/v1/subscriptions/hello/processes
  ${environment}./strata get processes
Stop it: ${environment}scripts/down   (--purge deletes its data)`;
}

/** What must stand before a command of ours to mean this instance; empty for the default one. */
export function environmentOf({ settings }: Instance): string {
  const { STRATA_DATA: data = "" } = settings;
  return data === "/var/lib/strata" ? "" : `STRATA_DATA=${data} `;
}
