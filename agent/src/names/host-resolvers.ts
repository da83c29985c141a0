import { isIP } from "node:net";

import { readOptionalFile } from "../durable-file.ts";

/** systemd-resolved keeps the true name servers here; /etc/resolv.conf then names only its own stub on 127.0.0.53. */
const sources = ["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"];
const LINES_MAX = 32;

/** What the host's resolv.conf says. */
export type HostResolvers = {
  /** Addresses, those of the host's loopback as well. */
  readonly servers: readonly string[];
  readonly search: readonly string[];
  readonly options: readonly string[];
};

export function readHostResolvers(): HostResolvers {
  const text = sources.map(readOptionalFile).find((found) => found !== undefined) ?? "";
  return parseHostResolvers(text);
}

/** resolv.conf(5): of `search` and `domain` the last one counts. What is no address and no name is left out. Pure. */
export function parseHostResolvers(text: string): HostResolvers {
  const lines = text
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter(([key = ""]) => ["nameserver", "search", "domain", "options"].includes(key))
    .slice(0, LINES_MAX);
  const ofKey = (...keys: readonly string[]): readonly (readonly string[])[] =>
    lines.flatMap(([key = "", ...words]) => (keys.includes(key) ? [words] : []));
  return {
    servers: ofKey("nameserver").flatMap(([address = ""]) => (isAddress(address) ? [address] : [])),
    search: (ofKey("search", "domain").at(-1) ?? []).filter((name) => /^[\w.-]{1,253}$/.test(name)),
    options: ofKey("options")
      .flat()
      .filter((word) => /^[\w:-]{1,64}$/.test(word)),
  };
}

function isAddress(text: string): boolean {
  return isIP(text) !== 0 && !text.includes("%");
}

export function isLoopback(address: string): boolean {
  return address.startsWith("127.") || address === "::1";
}
