import { request, type IncomingHttpHeaders, type RequestOptions } from "node:http";

export type Answered = {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
};

export type Asked = RequestOptions & { readonly body?: string | undefined };

/** One request, on a connection of its own unless an agent is given. */
export function ask(port: number, { body, ...options }: Asked): Promise<Answered> {
  const { promise, resolve, reject } = Promise.withResolvers<Answered>();
  const asked = request({ host: "127.0.0.1", port, agent: false, ...options }, (response) => {
    const chunks: Buffer[] = [];
    response.on("data", (chunk: Buffer) => chunks.push(chunk));
    response.on("error", reject);
    response.on("end", () =>
      resolve({
        status: response.statusCode ?? 0,
        headers: response.headers,
        body: Buffer.concat(chunks).toString("utf8"),
      }),
    );
  });
  asked.on("error", reject);
  asked.end(body);
  return promise;
}

/** By host and path. */
export function get(port: number, host: string, path = "/"): Promise<Answered> {
  return ask(port, { path, headers: { host } });
}
