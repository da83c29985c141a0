import { createHash, randomBytes } from "node:crypto";
import type { Readable } from "node:stream";

import { request } from "undici";

/** One answer, read to its end. */
export type Answer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Buffer;
};

export type Call = {
  readonly headers?: Readonly<Record<string, string>>;
  /** A stream goes out with `Transfer-Encoding: chunked`, as Go sends one. */
  readonly body?: Buffer | string | Readable;
};

/** A client that hides nothing: no retries, no redirects, no decoding. */
export type Client = {
  readonly send: (method: string, path: string, call?: Call) => Promise<Answer>;
  /** POST, then one PUT with all the bytes. */
  readonly pushBlob: (repository: string, bytes: Buffer, algorithm?: string) => Promise<string>;
  /** Gives the answer to the PUT. */
  readonly putManifest: (path: string, manifest: PushedManifest) => Promise<Answer>;
};

export type PushedManifest = { readonly bytes: Buffer; readonly mediaType: string };

/** `authorization` goes with each request that has none of its own. */
export function createClient(url: string, authorization?: string): Client {
  const send: Client["send"] = async (method, path, { headers = {}, body } = {}) => {
    const answer = await request(new URL(path, url), {
      method: parseMethod(method),
      headers: { ...(authorization === undefined ? {} : { authorization }), ...headers },
      body: body ?? null,
    });
    return {
      status: answer.statusCode,
      headers: Object.fromEntries(
        Object.entries(answer.headers).map(([name, value]) => [name, [value].flat().join(", ")]),
      ),
      body: Buffer.from(await answer.body.arrayBuffer()),
    };
  };
  return {
    send,
    pushBlob: async (repository, bytes, algorithm = "sha256") => {
      const digest = digestOf(bytes, algorithm);
      const started = await send("POST", `/v2/${repository}/blobs/uploads/`);
      const path = withDigest(started.headers["location"] ?? "", digest);
      const { status, body } = await send("PUT", path, { body: bytes });
      if (status !== 201) throw new Error(`push answered ${status}: ${body.toString()}`);
      return digest;
    },
    putManifest: (path, { bytes, mediaType }) =>
      send("PUT", path, { headers: { "content-type": mediaType }, body: bytes }),
  };
}

export function digestOf(bytes: Uint8Array, algorithm = "sha256"): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`;
}

/** The upload URL with `digest=` added and its own query kept. */
export function withDigest(location: string, digest: string): string {
  return `${location}${location.includes("?") ? "&" : "?"}digest=${encodeURIComponent(digest)}`;
}

export function randomBlob(sizeBytes = 512): Buffer {
  return randomBytes(sizeBytes);
}

/** The errors of an answer in the shape of distribution-spec v1.1, "Error Codes". */
export function errorCodes({ body }: Answer): readonly string[] {
  const parsed: unknown = JSON.parse(body.toString());
  return parseErrors(parsed).map((error) => error.code);
}

function parseErrors(value: unknown): readonly { readonly code: string }[] {
  // Checked by the assertion on the codes that follows.
  return (value as { readonly errors: readonly { readonly code: string }[] }).errors;
}

type Method = "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";

function parseMethod(method: string): Method {
  // undici sends any token; its type lists the usual ones.
  return method as Method;
}
