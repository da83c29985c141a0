import { once } from "node:events";
import { createServer } from "node:http";

export type StaticRegistry = AsyncDisposable & {
  readonly url: string;
  /** Paths that were asked for, in order. */
  readonly requests: readonly string[];
};

export type StaticAnswer = {
  readonly status?: number;
  readonly type?: string;
  readonly body: Buffer | string;
};

/** A registry that answers whatever it was told to, true or not. Other paths are 404. */
export async function aStaticRegistry(
  answers: Readonly<Record<string, StaticAnswer>>,
): Promise<StaticRegistry> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    const path = request.url ?? "";
    requests.push(path);
    const {
      status = 200,
      type = "application/octet-stream",
      body,
    } = answers[path] ?? { status: 404, body: "" };
    response.writeHead(status, { "content-type": type }).end(body);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the registry has no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    requests,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
