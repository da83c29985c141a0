/** One HTTP exchange with an Incus or LXD server, over its unix socket or over TLS with a client certificate. */
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { type IncomingMessage, request as requestPlain } from "node:http";
import { request as requestTls, type RequestOptions } from "node:https";

import { getErrorCode } from "@strata/protocol/errors";

import { ProviderError } from "./errors.ts";

export type IncusRequest = {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  /** Text or bytes as they are; anything else as JSON. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
};

/** Resolves to the body, whatever the status: the API repeats it there.
 * @throws ProviderError PROVIDER_UNREACHABLE, PROVIDER_AUTH (socket or certificate refused), PROVIDER_FAILED. */
export type IncusConnection = (request: IncusRequest, signal: AbortSignal) => Promise<string>;

export type IncusEndpoint = {
  /** `unix:/path/to/unix.socket` or `https://host:8443`. */
  readonly endpoint: string;
  /** For https: our client certificate and its key (PEM). */
  readonly certificateFile?: string | undefined;
  readonly keyFile?: string | undefined;
  /** For https: the server's own certificate (PEM), which is then the only one trusted [public CAs]. */
  readonly serverCertificateFile?: string | undefined;
};

const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

/** Reads the certificates at once, so that a wrong path shows where the provider is made.
 * @throws ProviderError PROVIDER_INVALID */
export function createIncusConnection(endpoint: IncusEndpoint): IncusConnection {
  const target = readTarget(endpoint);
  const start = target.socketPath === undefined ? requestTls : requestPlain;
  return async ({ method, path, body, headers }, signal) => {
    const content = encodeBody(body);
    const outgoing = start({
      ...target,
      method,
      path,
      signal,
      headers: { ...content.headers, ...headers },
    });
    outgoing.end(content.bytes);
    try {
      const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
      outgoing.on("response", resolve).on("error", reject);
      return await readBody(await promise);
    } catch (error) {
      throw error instanceof ProviderError ? error : toProviderError(endpoint.endpoint, error);
    }
  };
}

type Content = { readonly bytes: Uint8Array; readonly headers: Readonly<Record<string, string>> };

function encodeBody(body: unknown): Content {
  const isRaw = typeof body === "string" || body instanceof Uint8Array;
  const bytes = Buffer.from(isRaw ? body : body === undefined ? "" : JSON.stringify(body));
  return {
    bytes,
    headers: {
      // Without a type the server takes a pushed file for a form and stores an empty one.
      "content-type": isRaw ? "application/octet-stream" : "application/json",
      "content-length": String(bytes.length),
    },
  };
}

async function readBody(response: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response) {
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX) {
      throw new ProviderError(
        "PROVIDER_FAILED",
        `the answer is longer than ${ANSWER_BYTES_MAX} bytes`,
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function readTarget(endpoint: IncusEndpoint): RequestOptions {
  if (endpoint.endpoint.startsWith("unix:")) {
    return { socketPath: endpoint.endpoint.slice("unix:".length), host: "incus" };
  }
  const { hostname, port } = new URL(endpoint.endpoint);
  return {
    host: hostname.replaceAll(/[[\]]/g, ""),
    port: port === "" ? 8443 : Number(port),
    cert: readPem(endpoint.certificateFile),
    key: readPem(endpoint.keyFile),
    ...(endpoint.serverCertificateFile === undefined
      ? {}
      : trustOnly(new X509Certificate(readPem(endpoint.serverCertificateFile) ?? ""))),
  };
}

/** The name in a self-signed certificate of these servers is seldom the one that is dialled: the certificate itself is
 * what is trusted. */
function trustOnly(certificate: X509Certificate): RequestOptions {
  return {
    ca: certificate.toString(),
    checkServerIdentity: (_host, shown) =>
      shown.fingerprint256 === certificate.fingerprint256
        ? undefined
        : new Error("the server shows another certificate than the one that is pinned"),
  };
}

function readPem(path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new ProviderError("PROVIDER_INVALID", `${path} cannot be read`, {
      cause,
      hint: "the certificate and key files must be readable by the controller",
    });
  }
}

const refusals: ReadonlySet<string> = new Set([
  "EACCES",
  "EPERM",
  "CERT_HAS_EXPIRED",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "ERR_TLS_CERT_ALTNAME_INVALID",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
]);

function toProviderError(endpoint: string, cause: unknown): ProviderError {
  if (refusals.has(getErrorCode(cause) ?? "")) {
    return new ProviderError(
      "PROVIDER_AUTH",
      `${endpoint} may not be used or is not the one expected`,
      {
        cause,
        hint: "check the rights on the socket, or the certificate files of the provider's settings",
      },
    );
  }
  return new ProviderError("PROVIDER_UNREACHABLE", `${endpoint} does not answer`, { cause });
}
