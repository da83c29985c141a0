import { once } from "node:events";
import { createServer } from "node:http";
import type { Duplex } from "node:stream";

import { createFrameDecoder, encodeFrame, type Frame } from "@strata/protocol/agent/stream";

export type StreamServer = AsyncDisposable & {
  readonly env: Readonly<Record<string, string>>;
  /** Paths of the streams that were opened. */
  readonly opened: readonly string[];
};

/** What the far end does with a frame that came. */
export type Behaviour = {
  readonly onOpen?: (send: Send) => void;
  readonly onFrame?: (frame: Frame, send: Send) => void;
};
export type Send = {
  readonly frame: (...frame: Parameters<typeof encodeFrame>) => void;
  readonly end: () => void;
};

/** A controller that knows the process `web-1` of the subscription `web`, and streams as a test says. */
export async function aStreamServer(behaviour: Behaviour): Promise<StreamServer> {
  const opened: string[] = [];
  const sockets = new Set<Duplex>();
  const server = createServer((request, response) => {
    const path = (request.url ?? "").split("?")[0];
    const process = { id: "web-1", ready: true, state: "running" };
    const answers: Readonly<Record<string, object>> = {
      "/v1/processes/web-1": process,
      "/v1/subscriptions/web/processes": { items: [process], next: null },
    };
    const body = answers[path ?? ""];
    response.writeHead(body === undefined ? 404 : 200, { "content-type": "application/json" });
    response.end(JSON.stringify(body ?? { code: "NOT_FOUND", detail: `no ${path}` }));
  });
  server.on("upgrade", (request, socket: Duplex) => {
    opened.push(request.url ?? "");
    sockets.add(socket);
    socket.on("error", () => socket.destroy());
    const connection = "Connection: Upgrade\r\nUpgrade: strata-stream";
    socket.write(`HTTP/1.1 101 Switching Protocols\r\n${connection}\r\n\r\n`);
    const send: Send = {
      frame: (...frame) => void socket.write(encodeFrame(...frame)),
      end: () => void socket.end(),
    };
    const decode = createFrameDecoder();
    socket.on("data", (chunk: Buffer) => {
      for (const frame of decode(chunk)) behaviour.onFrame?.(frame, send);
    });
    behaviour.onOpen?.(send);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("not listening");
  return {
    opened,
    env: { STRATA_URL: `http://127.0.0.1:${address.port}`, STRATA_TOKEN: "t" },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
