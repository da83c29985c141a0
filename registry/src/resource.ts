import { isRepository } from "@strata/protocol/oci/reference";

import { RegistryError } from "./errors.ts";

/** What a path of distribution-spec v1.1, "Endpoints", names. Digests, tags and ids are still unchecked text. */
export type Resource =
  | { readonly kind: "base" }
  | { readonly kind: "catalog" }
  | { readonly kind: "tags"; readonly repository: string }
  | { readonly kind: "manifest"; readonly repository: string; readonly reference: string }
  | { readonly kind: "referrers"; readonly repository: string; readonly digest: string }
  | { readonly kind: "uploads"; readonly repository: string }
  | { readonly kind: "upload"; readonly repository: string; readonly uploadId: string }
  | { readonly kind: "blob"; readonly repository: string; readonly digest: string };

export type ResourceOf<Kind extends Resource["kind"]> = Extract<Resource, { readonly kind: Kind }>;

/** Reads the path as it was sent, still percent-encoded; undefined for what is no endpoint.
 * Repository names may hold slashes and any of the fixed words, so the end of the path decides.
 * @throws RegistryError NAME_INVALID */
export function parseResource(pathname: string): Resource | undefined {
  if (pathname === "/v2" || pathname === "/v2/") return { kind: "base" };
  if (!pathname.startsWith("/v2/")) return undefined;
  const segments = pathname.slice("/v2/".length).split("/").map(decodeSegment);
  if (segments.length === 1 && segments[0] === "_catalog") return { kind: "catalog" };
  return parseUploads(segments) ?? parseNamed(segments);
}

function parseUploads(segments: readonly string[]): Resource | undefined {
  const [blobs, uploads, id] = segments.slice(-3);
  if (blobs === "blobs" && uploads === "uploads" && id !== undefined) {
    const repository = parseName(segments.slice(0, -3));
    return id === ""
      ? { kind: "uploads", repository }
      : { kind: "upload", repository, uploadId: id };
  }
  if (uploads === "blobs" && id === "uploads") {
    return { kind: "uploads", repository: parseName(segments.slice(0, -2)) };
  }
  return undefined;
}

function parseNamed(segments: readonly string[]): Resource | undefined {
  const [word, last] = segments.slice(-2);
  if (last === undefined) return undefined;
  const name = segments.slice(0, -2);
  switch (word) {
    case "tags":
      return last === "list" ? { kind: "tags", repository: parseName(name) } : undefined;
    case "manifests":
      return { kind: "manifest", repository: parseName(name), reference: last };
    case "referrers":
      return { kind: "referrers", repository: parseName(name), digest: last };
    case "blobs":
      return { kind: "blob", repository: parseName(name), digest: last };
    default:
      return undefined;
  }
}

function parseName(segments: readonly string[]): string {
  const name = segments.join("/");
  // A slash that was percent-encoded is no separator; the grammar alone would take it for one.
  if (isRepository(name) && !segments.some((segment) => segment.includes("/"))) return name;
  throw new RegistryError(
    "NAME_INVALID",
    `${JSON.stringify(name.slice(0, 300))} is no repository name`,
    {
      hint: "use lower-case letters, digits and single . _ - between them, with / between parts, 255 at most",
    },
  );
}

function decodeSegment(segment: string): string {
  if (!segment.includes("%")) return segment;
  try {
    return decodeURIComponent(segment);
  } catch (cause) {
    throw new RegistryError("NAME_INVALID", "the path is not percent-encoded UTF-8", { cause });
  }
}
