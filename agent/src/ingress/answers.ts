import type { IngressRoute } from "@strata/protocol/agent/network";

type Answer = {
  readonly status: number;
  readonly code: string;
  readonly title: string;
  readonly hint: string;
};

/** What the ingress says itself looks like what the controller says (RFC 9457). */
function problem({ status, code, title, hint }: Answer): string {
  const body = JSON.stringify({ type: "about:blank", title, status, code, hint });
  return `content-type application/problem+json string "${body.replaceAll('"', '\\"')}"`;
}

const unknownRoute: Answer = {
  status: 404,
  code: "ROUTE_UNKNOWN",
  title: "nothing is routed here",
  hint: "check host and path: strata route list shows what there is",
};
const RETRY_AFTER = "hdr retry-after 1";

const errors: readonly Answer[] = [
  {
    status: 502,
    code: "ANSWER_BROKEN",
    title: "the process broke off before it answered",
    hint: "see the logs of the process",
  },
  {
    status: 503,
    code: "NO_PROCESS_READY",
    title: "no process is ready to answer",
    hint: "try again soon: strata get processes shows what runs and what it waits for",
  },
  {
    status: 504,
    code: "ANSWER_LATE",
    title: "the process did not answer in time",
    hint: "the time is a limit of the route",
  },
];

export const frontAnswers = {
  unknownRoute: `http-request return status 404 ${problem(unknownRoute)}`,
  errors: errors
    .map((answer) => {
      const later = answer.status === 503 ? ` ${RETRY_AFTER}` : "";
      return `  http-error status ${answer.status} ${problem(answer)}${later}\n`;
    })
    .join(""),
};

/** Clients that are counted at once. The oldest make room. */
const CLIENTS_COUNTED = 100_000;

/** What a route answers before any process is asked. */
export function routeAnswers({ limits }: IngressRoute): string {
  const { requestsPerSecond, bodyBytesMax, queueMax } = limits;
  const rate = requestsPerSecond === undefined ? "" : renderRate(requestsPerSecond);
  const body = bodyBytesMax === undefined ? "" : renderBody(bodyBytesMax);
  const full = problem({
    status: 503,
    code: "QUEUE_FULL",
    title: "too many requests wait for a process",
    hint: "try again soon; more processes or a longer queue take more",
  });
  return `${rate}${body}  http-request return status 503 ${full} ${RETRY_AFTER} if { queue ge ${queueMax} }\n`;
}

function renderRate(requestsPerSecond: number): string {
  const answer = problem({
    status: 429,
    code: "TOO_MANY_REQUESTS",
    title: "this address asks too often",
    hint: "wait a second; the rate is a limit of the route",
  });
  return `  stick-table type ipv6 size ${CLIENTS_COUNTED} expire 10s store http_req_rate(1s)
  http-request track-sc0 src
  http-request return status 429 ${answer} ${RETRY_AFTER} if { sc0_http_req_rate gt ${requestsPerSecond} }
`;
}

/** A body whose length nobody has said cannot be judged before it is over. */
function renderBody(bodyBytesMax: number): string {
  const tooLarge = problem({
    status: 413,
    code: "BODY_TOO_LARGE",
    title: `a body may have ${bodyBytesMax} bytes`,
    hint: "send less; the size is a limit of the route",
  });
  const unknown = problem({
    status: 411,
    code: "LENGTH_REQUIRED",
    title: "this route takes bodies of a known length alone",
    hint: "send Content-Length",
  });
  return `  http-request return status 413 ${tooLarge} if { req.hdr(content-length),add(0) gt ${bodyBytesMax} }
  http-request return status 411 ${unknown} if { req.hdr(transfer-encoding) -m found }
  http-request return status 411 ${unknown} if { method POST PUT PATCH } !{ req.hdr(content-length) -m found }
`;
}
