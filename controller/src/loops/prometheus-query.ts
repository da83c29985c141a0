/** One instant query of a Prometheus server (its HTTP API, "Instant queries"), as one number. */
import { CodedError } from "@strata/protocol/errors";
import type { Dispatcher } from "undici";
import { z } from "zod";

type PrometheusErrorCode =
  | "PROMETHEUS_UNREACHABLE" // No answer in time, or none at all.
  | "PROMETHEUS_REFUSED" // It answered with an error: the query is wrong, or the server is not ready.
  | "PROMETHEUS_EMPTY"; // Nothing that the query selects has a value now.

class PrometheusError extends CodedError<PrometheusErrorCode> {}

export type InstantQuery = {
  /** Of the server, with a path where it has one. User and password in it are sent as Basic. */
  readonly url: string;
  readonly query: string;
  readonly signal: AbortSignal;
};

const ANSWER_BYTES_MAX = 4 * 1024 * 1024;

const Sample = z.tuple([z.number(), z.string()]);
const Answer = z.discriminatedUnion("status", [
  z.object({ status: z.literal("error"), error: z.string() }),
  z.object({
    status: z.literal("success"),
    data: z.discriminatedUnion("resultType", [
      z.object({ resultType: z.literal("scalar"), result: Sample }),
      z.object({
        resultType: z.literal("vector"),
        result: z.array(z.object({ value: Sample })),
      }),
    ]),
  }),
]);

/** The sum of the result's vector, or the scalar.
 * @throws PrometheusError */
export async function queryPrometheus({ url, query, signal }: InstantQuery): Promise<number> {
  const { target, authorization } = toTarget(url);
  // Large, and few installations ask a server.
  const { request } = await import("undici");
  let text: string;
  let status: number;
  try {
    const answer = await request(target, {
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded", ...authorization },
      body: new URLSearchParams({ query }).toString(),
      signal,
    });
    status = answer.statusCode;
    text = await readText(answer.body);
  } catch (cause) {
    throw new PrometheusError("PROMETHEUS_UNREACHABLE", `${target.host} gave no answer`, { cause });
  }
  return sumOf(parseAnswer(text, { status, host: target.host }));
}

function toTarget(url: string): {
  readonly target: URL;
  readonly authorization: Readonly<Record<string, string>>;
} {
  const target = new URL(url);
  const { username, password } = target;
  target.username = "";
  target.password = "";
  target.pathname = `${target.pathname.replace(/\/$/, "")}/api/v1/query`;
  if (username === "") return { target, authorization: {} };
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return {
    target,
    authorization: { authorization: `Basic ${Buffer.from(pair).toString("base64")}` },
  };
}

async function readText(body: Dispatcher.ResponseData["body"]): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    const bytes = Buffer.from(chunk);
    size += bytes.length;
    if (size > ANSWER_BYTES_MAX) throw new Error(`the answer is larger than ${ANSWER_BYTES_MAX}`);
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString("utf8");
}

type Success = Extract<z.infer<typeof Answer>, { status: "success" }>;

function parseAnswer(
  text: string,
  { status, host }: { readonly status: number; readonly host: string },
): Success {
  let answer: z.infer<typeof Answer>;
  try {
    answer = Answer.parse(JSON.parse(text));
  } catch (cause) {
    throw new PrometheusError(
      "PROMETHEUS_REFUSED",
      `${host} answered ${status}, and no scalar or vector`,
      { cause },
    );
  }
  if (answer.status === "success") return answer;
  throw new PrometheusError("PROMETHEUS_REFUSED", `${host}: ${answer.error}`);
}

function sumOf({ data }: Success): number {
  const values =
    data.resultType === "scalar" ? [data.result[1]] : data.result.map(({ value }) => value[1]);
  const sum = values.reduce((total, value) => total + Number(value), 0);
  // A missing series is not a load of zero: whoever means that adds `or vector(0)` to the query.
  if (values.length === 0 || !Number.isFinite(sum)) {
    throw new PrometheusError("PROMETHEUS_EMPTY", "the query has no number for an answer");
  }
  return sum;
}
