import { buffer } from "node:stream/consumers";

import { aLoopbackServer } from "../../support/loopback-server.ts";

export type FileServer = AsyncDisposable & {
  readonly env: Readonly<Record<string, string>>;
  /** What was put, and where. */
  readonly put: { readonly url: URL; readonly body: Buffer }[];
  /** Where files were asked for. */
  readonly asked: URL[];
};

/** A controller that knows the process `web-1` of the subscription `web`, gives out one archive, whole or cut off, and
 * takes any. */
export async function aFileServer(
  archive: Buffer = Buffer.alloc(0),
  { cutAt = archive.length }: { readonly cutAt?: number } = {},
): Promise<FileServer> {
  const put: FileServer["put"] = [];
  const asked: URL[] = [];
  const process = { id: "web-1", ready: true, state: "running" };
  const answers: Readonly<Record<string, object>> = {
    "/v1/processes/web-1": process,
    "/v1/subscriptions/web/processes": { items: [process], next: null },
  };
  const listening = await aLoopbackServer((request, response) => {
    const url = new URL(request.url ?? "", "http://x");
    if (url.pathname === "/v1/processes/web-1/files" && request.method === "GET") {
      asked.push(url);
      response.writeHead(200, { "content-type": "application/x-tar" });
      if (cutAt === archive.length) response.end(archive);
      else response.write(archive.subarray(0, cutAt), () => response.destroy());
      return;
    }
    if (url.pathname === "/v1/processes/web-1/files") {
      void buffer(request).then((body) => {
        put.push({ url, body });
        response.end(JSON.stringify({ entries: 1, bytes: 1, skipped: 0 }));
      });
      return;
    }
    const body = answers[url.pathname];
    response.writeHead(body === undefined ? 404 : 200, { "content-type": "application/json" });
    response.end(JSON.stringify(body ?? { code: "NOT_FOUND", detail: `no ${url.pathname}` }));
  });
  return {
    put,
    asked,
    env: { STRATA_URL: listening.url, STRATA_TOKEN: "t" },
    [Symbol.asyncDispose]: () => listening[Symbol.asyncDispose](),
  };
}
