import { once } from "node:events";
import { createServer } from "node:http";

import { getRequestListener } from "@hono/node-server";

import { aController, type TestController } from "../../support/controller.ts";

export type ControllerServer = AsyncDisposable & {
  readonly controller: TestController;
  readonly url: string;
  /** What a command needs to reach it as the admin. */
  readonly env: Readonly<Record<string, string>>;
  /** Requests answered so far. */
  readonly answered: () => number;
};

/** The real controller behind a real socket. Its store holds what `anImageSource` says. */
export async function aControllerServer(): Promise<ControllerServer> {
  const controller = await aController();
  let answered = 0;
  const listener = getRequestListener(async (request) => {
    const { pathname, search } = new URL(request.url);
    const answer = await controller.request(pathname + search, request);
    answered += 1;
    return answer;
  });
  const server = createServer((incoming, outgoing) => void listener(incoming, outgoing));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("not listening");
  const url = `http://127.0.0.1:${address.port}`;
  return {
    controller,
    url,
    answered: () => answered,
    env: { STRATA_URL: url, STRATA_TOKEN: controller.adminToken },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
      await controller[Symbol.asyncDispose]();
    },
  };
}
