/** Connections that never come to a request cost nothing for long, and nobody else anything. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";

import { bundleStore } from "../../scripts/bundle.ts";
import { createClient } from "../support/registry-client.ts";
import { startStore } from "../support/store-process.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const CONNECTIONS = 500;
/** It is cut off after ten seconds; a busy machine may be late, but Node's own 30 s are too much. */
const CLOSED_MS_MAX = 25_000;

suite("half-open requests", (test) => {
  test(
    "are cut off, and the store answers others meanwhile",
    async () => {
      const { program } = await bundleStore();
      await using folder = aTemporaryDirectory();
      const store = await startStore([program, "--data", folder.path, "--port", "0"]);
      try {
        const port = Number(new URL(store.url).port);
        const beginnings = ["", "GET /v2/ HT", "GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: "];
        const sockets: Socket[] = [];
        for (let number = 0; number < CONNECTIONS; number += 1) {
          const socket = connect(port, "127.0.0.1");
          socket.on("error", () => undefined);
          await once(socket, "connect");
          socket.write(beginnings[number % beginnings.length] ?? "");
          sockets.push(socket);
        }
        const openedAt = performance.now();
        const closed = Promise.all(sockets.map((socket) => text(socket)));
        const answer = await createClient(store.url).send("GET", "/v2/");
        assert.is(answer.status, 200);
        const answers = await closed;
        assert.ok(performance.now() - openedAt < CLOSED_MS_MAX);
        assert.ok(answers.every((said) => /^(HTTP\/1.1 408 |$)/.test(said)));
      } finally {
        await store.kill();
      }
    },
    { timeoutMs: 90_000 },
  );
});
