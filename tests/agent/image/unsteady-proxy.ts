import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";

export type UnsteadyProxy = AsyncDisposable & {
  readonly url: string;
  /** Connections that were cut so far. */
  readonly cuts: () => number;
};

/** Stands in front of a server, and cuts a connection after so many bytes of answers, `cutsMax` times in all. */
export async function anUnsteadyProxy(
  target: string,
  {
    bytesPerConnection,
    cutsMax,
  }: { readonly bytesPerConnection: number; readonly cutsMax: number },
): Promise<UnsteadyProxy> {
  const { hostname, port } = new URL(target);
  let cuts = 0;
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    let bytes = 0;
    client.on("error", () => undefined).pipe(upstream);
    upstream.on("error", () => undefined).on("end", () => client.end());
    upstream.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > bytesPerConnection && cuts < cutsMax) {
        cuts += 1;
        client.write(chunk.subarray(0, chunk.length - (bytes - bytesPerConnection)), () =>
          client.destroy(),
        );
        upstream.destroy();
      } else {
        client.write(chunk);
      }
    });
    client.on("close", () => upstream.destroy());
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port: own }: AddressInfo = addressOf(server.address());
  return {
    url: `http://127.0.0.1:${own}`,
    cuts: () => cuts,
    [Symbol.asyncDispose]: async () => {
      server.close();
      await once(server, "close");
    },
  };
}

function addressOf(address: ReturnType<ReturnType<typeof createServer>["address"]>): AddressInfo {
  if (address === null || typeof address === "string") throw new Error("the proxy has no port");
  return address;
}
