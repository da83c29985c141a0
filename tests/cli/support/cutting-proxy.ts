import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

export type CuttingProxy = AsyncDisposable & {
  readonly url: string;
  /** Bytes that went from client to server, of all connections. */
  readonly sentBytes: () => number;
};

/** Passes connections on to `port`, and cuts the first `cuts` that carry more than `afterBytes` upwards. */
export async function aCuttingProxy(
  port: number,
  { cuts, afterBytes }: { readonly cuts: number; readonly afterBytes: number },
): Promise<CuttingProxy> {
  let left = cuts;
  let sent = 0;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(port, "127.0.0.1");
    let own = 0;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => {
        client.destroy();
        upstream.destroy();
      });
    }
    client.on("data", (chunk) => {
      sent += chunk.length;
      own += chunk.length;
      if (left > 0 && own > afterBytes) {
        left -= 1;
        client.destroy();
        return;
      }
      if (!upstream.write(chunk)) {
        client.pause();
        upstream.once("drain", () => client.resume());
      }
    });
    upstream.pipe(client);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("not listening");
  return {
    url: `http://127.0.0.1:${address.port}`,
    sentBytes: () => sent,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
