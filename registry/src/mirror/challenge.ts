/** What an upstream asks for in `WWW-Authenticate`. */
export type Challenge =
  | { readonly scheme: "basic" }
  | {
      readonly scheme: "bearer";
      readonly realm: string;
      readonly service: string | undefined;
      readonly scope: string | undefined;
    };

const parameter = /([A-Za-z]+)\s*=\s*(?:"([^"]*)"|([^\s",]+))/g;
const HEADER_LENGTH_MAX = 4_096;

/** Reads the header (RFC 9110, section 11.6.1; distribution token specification). Undefined for other schemes. */
export function readChallenge(header: string | undefined): Challenge | undefined {
  if (header === undefined || header.length > HEADER_LENGTH_MAX) return undefined;
  const [scheme = ""] = header.trimStart().split(/\s/, 1);
  if (scheme.toLowerCase() === "basic") return { scheme: "basic" };
  if (scheme.toLowerCase() !== "bearer") return undefined;
  const values = new Map<string, string>();
  for (const [, name = "", quoted, bare] of header.matchAll(parameter)) {
    values.set(name.toLowerCase(), quoted ?? bare ?? "");
  }
  const realm = values.get("realm");
  if (realm === undefined) return undefined;
  return { scheme: "bearer", realm, service: values.get("service"), scope: values.get("scope") };
}
