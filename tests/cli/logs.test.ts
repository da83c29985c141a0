import type { ServerResponse } from "node:http";

import { aLoopbackServer, type LoopbackServer } from "../support/loopback-server.ts";
import { assert, suite } from "../support/suite.ts";
import { runCli } from "./support/run-cli.ts";

type Asked = { readonly query: Readonly<Record<string, string>>; readonly answer: ServerResponse };

/** A controller with one process, whose log a test answers, one connection after the other. */
async function aLogServer(
  answers: readonly ((asked: Asked) => void)[],
): Promise<LoopbackServer & { readonly queries: Readonly<Record<string, string>>[] }> {
  const queries: Readonly<Record<string, string>>[] = [];
  const server = await aLoopbackServer((request, response) => {
    const url = new URL(request.url ?? "", "http://x");
    if (url.pathname === "/v1/processes/web-1")
      return void response.end(JSON.stringify({ id: "web-1", ready: true, state: "running" }));
    const query = Object.fromEntries(url.searchParams);
    const answer = answers[queries.length];
    queries.push(query);
    if (answer === undefined) return void response.destroy();
    answer({ query, answer: response });
  });
  return { ...server, queries };
}

function send(offset: number, text: string, end: "whole" | "broken") {
  return ({ answer }: Asked): void => {
    answer.writeHead(200, { "strata-log-offset": String(offset) });
    answer.write(text, () => void (end === "whole" ? answer.end() : answer.destroy()));
  };
}

async function follow(server: LoopbackServer): ReturnType<typeof runCli> {
  const env = { STRATA_URL: server.url, STRATA_TOKEN: "t" };
  return runCli(["logs", "-f", "--tail", "3", "web-1"], { env });
}

suite("logs", (test) => {
  test("go on at the byte where the connection broke, with nothing doubled or left out", async () => {
    await using server = await aLogServer([
      send(100, "one\ntw", "broken"),
      ({ answer }) => void answer.destroy(),
      ({ answer }) => {
        answer.writeHead(503, { "content-type": "application/problem+json" });
        answer.end(JSON.stringify({ code: "NODE_AWAY", detail: "the node is silent" }));
      },
      send(106, "o\nthree\n", "whole"),
    ]);
    const { status, stdout, stderr } = await follow(server);
    assert.equal([status, stdout, stderr], [0, "one\ntwo\nthree\n", ""]);
    assert.equal(server.queries, [
      { follow: "true", tail: "3" },
      { follow: "true", from: "106" },
      { follow: "true", from: "106" },
      { follow: "true", from: "106" },
    ]);
  });

  test("say what was trimmed meanwhile, and end with their process", async () => {
    await using server = await aLogServer([
      send(0, "a\n", "broken"),
      send(50, "b\n", "broken"),
      ({ answer }) => {
        answer.writeHead(404, { "content-type": "application/problem+json" });
        answer.end(JSON.stringify({ code: "NOT_FOUND", detail: "there is no process web-1" }));
      },
    ]);
    const { status, stdout, stderr } = await follow(server);
    assert.equal([status, stdout], [0, "a\nb\n"]);
    assert.match(stderr, "48 bytes of the log were trimmed meanwhile");
    assert.is(server.queries[2]?.["from"], "52");
  });

  test("fail at once where there is nothing to go on with", async () => {
    await using server = await aLogServer([({ answer }) => void answer.destroy()]);
    assert.is((await follow(server)).status, 3);
    assert.is(server.queries.length, 1);
  });
});
