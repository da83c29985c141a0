import { ParseError } from "@strata/protocol/errors";

/** Where in S3 a store keeps its blobs. */
export type S3Location = {
  readonly bucket: string;
  /** Put before every key; empty, or it ends with a slash. */
  readonly prefix: string;
  /** Of a server that is not Amazon's; its buckets are named in the path. */
  readonly endpoint: string | undefined;
  readonly region: string;
};

const EXAMPLE = "give s3://BUCKET/PREFIX?endpoint=https://HOST&region=REGION";
/** Of servers that have no regions. */
const REGION = "us-east-1";
const PREFIX_LENGTH_MAX = 512;

/** Reads `s3://bucket/prefix?endpoint=https://host&region=eu-west-1`; all behind the bucket may be left out.
 * @throws ParseError saying what is wrong with it */
export function parseS3Location(text: string): S3Location {
  const url = URL.parse(text);
  if (url?.protocol !== "s3:") throw refuse("blobs are kept in a bucket named s3://BUCKET");
  if (url.username !== "" || url.password !== "") {
    throw new ParseError("an s3: address holds no credentials", {
      hint: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, or a profile",
    });
  }
  // AWS, "Bucket naming rules".
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(url.host)) {
    throw refuse(`${JSON.stringify(url.host)} is no name of a bucket`);
  }
  for (const name of url.searchParams.keys()) {
    if (name !== "endpoint" && name !== "region") {
      throw refuse(`an s3: address has no ${JSON.stringify(name)}`);
    }
  }
  const endpoint = url.searchParams.get("endpoint");
  return {
    bucket: url.host,
    prefix: parsePrefix(url.pathname),
    endpoint: endpoint === null ? undefined : parseEndpoint(endpoint),
    region: parseRegion(url.searchParams.get("region") ?? REGION),
  };
}

function parsePrefix(path: string): string {
  const names = path.split("/").filter((name) => name !== "");
  const prefix = names.map((name) => `${name}/`).join("");
  if (names.every((name) => /^[A-Za-z0-9._-]+$/.test(name)) && prefix.length <= PREFIX_LENGTH_MAX)
    return prefix;
  throw refuse("the prefix is made of letters, digits and . _ - / and not longer than 512");
}

function parseEndpoint(text: string): string {
  const url = URL.parse(text);
  const plain = url?.username === "" && url.password === "" && url.search === "";
  if (plain && (url.protocol === "https:" || url.protocol === "http:")) return url.href;
  throw refuse(`the endpoint ${JSON.stringify(text)} is no http: or https: address`);
}

function parseRegion(text: string): string {
  if (/^[a-z0-9-]{1,40}$/.test(text)) return text;
  throw refuse(`${JSON.stringify(text)} is no region`);
}

function refuse(message: string): ParseError {
  return new ParseError(message, { hint: EXAMPLE });
}
