import type { Credentials } from "./accounts.ts";

export type Authorization =
  | ({ readonly scheme: "basic" } & Credentials)
  | { readonly scheme: "bearer"; readonly token: string };

/** Reads an `Authorization` header: RFC 7617 and RFC 6750. `"invalid"` for what is neither; undefined for none. */
export function readAuthorization(
  header: string | undefined,
): Authorization | "invalid" | undefined {
  if (header === undefined || header.trim() === "") return undefined;
  const [, scheme = "", value = ""] = /^\s*([A-Za-z]+)\s+(\S+)\s*$/.exec(header) ?? [];
  if (scheme.toLowerCase() === "bearer") return { scheme: "bearer", token: value };
  if (scheme.toLowerCase() !== "basic") return "invalid";
  const text = Buffer.from(value, "base64").toString("utf8");
  const colon = text.indexOf(":");
  if (colon < 0) return "invalid";
  return { scheme: "basic", name: text.slice(0, colon), password: text.slice(colon + 1) };
}
