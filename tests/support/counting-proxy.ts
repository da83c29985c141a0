import { once } from "node:events";
import { connect, createServer } from "node:net";

export type CountingProxy = AsyncDisposable & {
  readonly url: string;
  /** Bytes of answers so far, heads included. */
  readonly bytes: () => number;
};

/** Stands in front of a server of loopback and counts what it sends. */
export async function aCountingProxy(target: string): Promise<CountingProxy> {
  const { hostname, port } = new URL(target);
  let bytes = 0;
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    upstream.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
    });
    client.on("error", () => upstream.destroy()).pipe(upstream);
    upstream.on("error", () => client.destroy()).pipe(client);
    client.on("close", () => upstream.destroy());
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the proxy has no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    bytes: () => bytes,
    [Symbol.asyncDispose]: async () => {
      server.close();
      await once(server, "close");
    },
  };
}
