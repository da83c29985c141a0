import type { HeaderRecord } from "../errors.ts";

/** An answer without a body. Node would announce a chunked one where no length is given. */
export function answerEmpty(status: number, headers: HeaderRecord): Response {
  const length = status === 204 || status === 304 ? undefined : { "content-length": "0" };
  return new Response(null, { status, headers: { ...length, ...headers } });
}

export type JsonAnswer = {
  readonly value: unknown;
  readonly status?: number;
  readonly headers?: HeaderRecord;
};

export function answerJson({ value, status = 200, headers }: JsonAnswer): Response {
  return new Response(JSON.stringify(value), {
    status,
    headers: { "content-type": "application/json", ...headers },
  });
}
