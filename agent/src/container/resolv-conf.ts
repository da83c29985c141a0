import { type HostResolvers, isLoopback } from "../names/host-resolvers.ts";
import { DOMAIN } from "../names/render-names.ts";

/** glibc takes no more. */
const SEARCH_MAX = 6;

/** The resolv.conf of a container: the node's own name server, where it has one, with the short names of the tenant's
 * subscriptions first. Otherwise the host's name servers but for those on its loopback: nobody answers there. Pure. */
export function renderResolvConf(
  { servers, search, options }: HostResolvers,
  own: { readonly nameServer: string | undefined; readonly tenant: string },
): string {
  const { nameServer, tenant } = own;
  const asked =
    nameServer === undefined ? servers.filter((address) => !isLoopback(address)) : [nameServer];
  const names = nameServer === undefined ? search : [`${tenant}.${DOMAIN}`, ...search];
  return [
    ...asked.map((address) => `nameserver ${address}\n`),
    ...(names.length > 0 ? [`search ${names.slice(0, SEARCH_MAX).join(" ")}\n`] : []),
    ...(options.length > 0 ? [`options ${options.join(" ")}\n`] : []),
  ].join("");
}
