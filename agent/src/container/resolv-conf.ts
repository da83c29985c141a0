import { readOptionalFile } from "../durable-file.ts";

/** systemd-resolved keeps the true name servers here; /etc/resolv.conf then names only its own stub on 127.0.0.53. */
const sources = ["/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"];
const LINES_MAX = 32;

/** The host's resolv.conf for a container: name servers on the host's loopback are left out, nobody answers there. */
export function resolvConf(): string {
  const text = sources.map(readOptionalFile).find((found) => found !== undefined) ?? "";
  return `${filterResolvConf(text).join("\n")}\n`;
}

export function filterResolvConf(text: string): readonly string[] {
  return text
    .split("\n")
    .filter((line) => /^(nameserver|search|options|domain)\s/.test(line))
    .filter((line) => !/^nameserver\s+(127\.|::1)/.test(line))
    .slice(0, LINES_MAX);
}
