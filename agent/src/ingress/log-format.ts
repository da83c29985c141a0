/** One JSON object in a line for each request. Queries are left out: they may hold secrets. */
export const httpLogFormat = logFormat([
  ["method", '"%[method,json(utf8s)]"'],
  ["host", '"%[var(txn.host),json(utf8s)]"'],
  ["path", '"%[var(txn.path),json(utf8s)]"'],
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
