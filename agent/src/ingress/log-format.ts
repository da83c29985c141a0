/** One JSON object in a line for each request. Queries are left out: they may hold secrets. What HAProxy captures costs
 * less than variables do, and a path of it ends after 1023 characters. Methods are tokens, which need no escapes. */
export const httpLogFormat = logFormat([
  ["method", '"%[capture.req.method]"'],
  ["host", '"%[capture.req.hdr(0),host_only,lower,json(utf8s)]"'],
  ["path", '"%[capture.req.uri,field(1,?),json(utf8s)]"'],
  ["protocol", '"%HV"'],
  ["tls", '"%sslv"'],
  ["status", "%ST"],
  ["queueMs", "%Tw"],
  ["answerMs", "%Tr"],
  ["totalMs", "%Ta"],
]);

/** And for each connection of a route by port. */
export const tcpLogFormat = logFormat([["totalMs", "%Tt"]]);

function logFormat(fields: readonly (readonly [string, string])[]): string {
  const all = [
    ["time", "%Ts.%ms"],
    ["client", '"%ci"'],
    ["route", '"%b"'],
    ["process", '"%s"'],
    ...fields,
    ["bytes", "%B"],
    ["retries", '"%rc"'],
    ["end", '"%ts"'],
  ];
  return `{${all.map(([name = "", value = ""]) => `"${name}":${value}`).join(",")}}`;
}
