import fc from "fast-check";

import { digestOf } from "../../support/registry-client.ts";

/** What the registry has when the fuzzing begins, in `repo`. */
export const known: Buffer = Buffer.alloc(5_000, "known");
export const knownDigest: string = digestOf(known);

const odd = fc.constantFrom(
  "..",
  ".",
  "%2e%2e",
  "%2F",
  "%00",
  "%",
  "%zz",
  "%ff",
  "A",
  "a".repeat(256),
  "_",
  "-a",
  "a-",
  "a__b",
  "a___b",
  "é",
  "%c3%a9",
  "\u00ff",
  "a%0d%0ab",
  "?",
  "#",
  ";",
  "\\",
  "sha256:",
  "blobs",
  "uploads",
  "manifests",
  "tags",
  "list",
  "referrers",
  "_catalog",
  "v2",
  "",
);
const digests = fc.oneof(
  fc.constantFrom(
    knownDigest,
    knownDigest.toUpperCase(),
    knownDigest.slice(0, -1),
    `${knownDigest}0`,
    "sha256:",
    "sha256:bad",
  ),
  fc.constantFrom(
    digestOf(known, "sha512"),
    knownDigest.replace("sha256", "sha512"),
    "md5:abc",
    "sha256:../../etc",
  ),
  fc.stringMatching(/^[a-z0-9+._-]{1,8}:[a-fA-F0-9=_-]{1,140}$/),
);
const names = fc.oneof(
  { weight: 3, arbitrary: fc.constant("repo") },
  fc
    .array(fc.oneof(odd, fc.stringMatching(/^[a-z0-9]{1,5}$/)), { minLength: 1, maxLength: 4 })
    .map((parts) => parts.join("/")),
);
const references = fc.oneof(digests, odd, fc.constantFrom("tag", ".tag", "t".repeat(129)));
const ids = fc.oneof(odd, fc.uuid(), fc.constant("../../store.db"));
const numbers = fc.oneof(
  fc.integer({ min: -10, max: 10_000 }).map(String),
  fc.constantFrom("", "9".repeat(30), "1e3", "0x10", "NaN", " ", "-"),
);
const ranges = fc
  .array(
    fc.tuple(numbers, numbers).map(([from, to]) => `${from}-${to}`),
    { maxLength: 30 },
  )
  .map((parts) => parts.join(","));
const queries = fc
  .array(
    fc.tuple(
      fc.constantFrom(
        "n",
        "last",
        "digest",
        "mount",
        "from",
        "tag",
        "artifactType",
        "digest-algorithm",
        "ns",
      ),
      fc.oneof(numbers, digests, odd),
    ),
    { maxLength: 4 },
  )
  .map((pairs) => pairs.map(([name, value]) => `${name}=${value}`).join("&"));
const paths = fc.oneof(
  fc.tuple(names, digests).map(([name, text]) => `/v2/${name}/blobs/${text}`),
  fc.tuple(names, references).map(([name, text]) => `/v2/${name}/manifests/${text}`),
  fc.tuple(names, digests).map(([name, text]) => `/v2/${name}/referrers/${text}`),
  fc.tuple(names, ids).map(([name, id]) => `/v2/${name}/blobs/uploads/${id}`),
  names.map((name) => `/v2/${name}/blobs/uploads/`),
  names.map((name) => `/v2/${name}/tags/list`),
  fc.array(odd, { maxLength: 6 }).map((parts) => `/v2/${parts.join("/")}`),
);
const bodies = fc.oneof(
  fc.constant(""),
  fc.constant("KNOWN"),
  fc.constant("MANIFEST"),
  fc.json({ maxDepth: 4 }),
  fc.string({ maxLength: 200 }),
);
const headers = fc.record(
  {
    range: fc.oneof(
      ranges.map((text) => `bytes=${text}`),
      ranges,
    ),
    "content-range": ranges,
    "content-type": fc.constantFrom(
      "application/vnd.oci.image.manifest.v1+json",
      "application/vnd.docker.distribution.manifest.v2+json",
      "",
      "x",
      "a/b; c=d",
    ),
    accept: fc.constantFrom("", "*/*", "text/html;q=2", "LONG-8000"),
    authorization: fc.constantFrom("Basic", "Basic Og==", "Bearer ", `Bearer ${"x.".repeat(50)}`),
    expect: fc.constantFrom("100-continue", "200-maybe"),
    "if-none-match": fc.constantFrom("*", `"${knownDigest}"`, "W/", ",,,"),
    "if-range": fc.constantFrom(`"${knownDigest}"`, "x"),
    "x-forwarded-host": fc.constantFrom("evil", "a\tb"),
    "x-long": fc.constantFrom("LONG-1000", "LONG-20000"),
  },
  { requiredKeys: [] },
);

/** How the body's length is told: as it is, too short, too long, in chunks, in broken chunks, or twice. */
export const framings = ["length", "short", "long", "chunked", "broken", "twice"] as const;
export type Framing = (typeof framings)[number];

export type HostileRequest = {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: string;
  readonly framing: Framing;
};

const framing = fc.oneof(
  { weight: 6, arbitrary: fc.constant("length" as const) },
  fc.constantFrom(...framings),
);

/** Any request to any path, with the path's parts more often right than not. */
export const hostileRequests: fc.Arbitrary<HostileRequest> = fc.record({
  method: fc.constantFrom("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"),
  path: paths,
  query: queries,
  headers,
  body: bodies,
  framing,
});

/** One request to an upload that exists. */
export type UploadStep = Pick<HostileRequest, "method" | "body" | "framing"> & {
  readonly contentRange: string | undefined;
  readonly query: string;
};

/** None is so short that a part of it is one byte. */
const chunks = fc.integer({ min: 6, max: 3_000 }).map((length) => `BYTES-${length}`);
/** Right, wrong and none; `NEXT` stands for what the upload has. */
const contentRanges = fc.oneof(
  fc.constant(undefined),
  fc.constant("NEXT"),
  ranges,
  fc.constantFrom("0-0", "5-4", "bytes 0-9/10", "0-999999999999999"),
);
const closingDigests = fc.oneof(
  fc.nat(20).map((length) => digestOf(Buffer.alloc(length, "c"))),
  digests,
  fc.constant("RIGHT"),
);

/** A life of one upload: what a client may do in any order. */
export const uploadSteps: fc.Arbitrary<readonly UploadStep[]> = fc.array(
  fc.record({
    method: fc.constantFrom("PATCH", "PATCH", "PATCH", "GET", "PUT", "DELETE", "HEAD", "POST"),
    contentRange: contentRanges,
    query: closingDigests.map((text) => `digest=${text}`),
    body: fc.oneof(chunks, fc.constant("")),
    framing,
  }),
  { minLength: 1, maxLength: 8 },
);
