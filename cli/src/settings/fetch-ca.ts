import { X509Certificate } from "node:crypto";
import { request } from "node:https";
import { text } from "node:stream/consumers";

import { CliError } from "../errors.ts";

export type FetchedCa = {
  readonly pem: string;
  /** SHA-256 of the certificate (DER), as hex: what join tokens carry. */
  readonly fingerprint: string;
};

const TIMEOUT_MS = 10_000;
const PEM_BYTES_MAX = 64 * 1024;

/** Fetches the CA of a controller from that controller, trusting nothing yet: the caller has to compare the
 * fingerprint before anything else is sent.
 * @throws CliError UNREACHABLE */
export async function fetchCa(url: URL, signal: AbortSignal): Promise<FetchedCa> {
  const pem = await get(new URL("/ca.pem", url), signal).catch((cause: unknown) => {
    throw new CliError("UNREACHABLE", `the controller at ${url.origin} did not answer`, {
      cause,
      hint: "check the address, and that it is the TLS port [7070]",
    });
  });
  try {
    const fingerprint = new X509Certificate(pem).fingerprint256.replaceAll(":", "").toLowerCase();
    return { pem, fingerprint };
  } catch (cause) {
    throw new CliError("UNREACHABLE", `what ${url.origin} serves as its CA is no certificate`, {
      cause,
      hint: "is this the address of a Strata controller?",
    });
  }
}

function get(url: URL, signal: AbortSignal): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const sent = request(url, {
    rejectUnauthorized: false,
    signal,
    timeout: TIMEOUT_MS,
    agent: false,
  });
  sent.on("timeout", () => sent.destroy(new Error(`no answer in ${TIMEOUT_MS / 1000} s`)));
  sent.on("error", reject);
  sent.on("response", (message) => {
    let bytes = 0;
    message.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > PEM_BYTES_MAX)
        message.destroy(new Error("the answer is too long for a certificate"));
    });
    text(message).then(resolve, reject);
  });
  sent.end();
  return promise;
}
