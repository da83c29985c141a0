import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";

export type LoopbackServer = AsyncDisposable & { readonly url: string };

/** Serves requests on a free port of loopback. Connections are cut at its end. */
export async function aLoopbackServer(listener: RequestListener): Promise<LoopbackServer> {
  const server = createServer(listener);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("not listening");
  return {
    url: `http://127.0.0.1:${address.port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
