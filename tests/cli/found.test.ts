import { aLoopbackServer, type LoopbackServer } from "../support/loopback-server.ts";
import { assert, suite } from "../support/suite.ts";
import { runCli } from "./support/run-cli.ts";

const processes = ["web-1", "web-22"].map((id) => ({ id, subscription: "web", tenant: "default" }));

/** A controller that has a subscription `web` with two processes, and answers all else with `body`. */
async function aServer(body: object): Promise<LoopbackServer & { readonly asked: string[] }> {
  const asked: string[] = [];
  const server = await aLoopbackServer((request, response) => {
    const { pathname, search } = new URL(request.url ?? "", "http://x");
    if (pathname === "/v1/subscriptions/web/processes")
      return void response.end(JSON.stringify({ items: processes, next: null }));
    if (pathname === "/v1/processes/web-1") return void response.end(JSON.stringify(processes[0]));
    if (pathname.startsWith("/v1/processes/")) {
      response.writeHead(404, { "content-type": "application/problem+json" });
      return void response.end(JSON.stringify({ code: "NOT_FOUND", detail: "there is none" }));
    }
    asked.push(decodeURIComponent(`${pathname}${search}`));
    return void response.end(JSON.stringify(body));
  });
  return { ...server, asked };
}

const run = (server: LoopbackServer, ...args: readonly string[]): ReturnType<typeof runCli> =>
  runCli([...args], { env: { STRATA_URL: server.url, STRATA_TOKEN: "t" } });

const found = {
  items: [
    { at: "2026-03-01T08:12:41.000Z", process: "web-1", node: "a", text: "GET / 503" },
    { at: "2026-03-01T08:12:42.500Z", process: "web-22", node: "b", text: "GET /x 503" },
  ],
  truncated: true,
  missing: [{ process: "web-3", node: "c", code: "NODE_AWAY", message: "node c is silent" }],
};

suite("logs with a search", (test) => {
  test("show the lines of all processes by time, and who was not heard", async () => {
    await using server = await aServer(found);
    const args = ["--since", "15m", "--grep", "5\\d\\d", "-E", "-i", "--tail", "9"];
    const { status, stdout, stderr } = await run(server, "logs", "web", ...args);
    assert.equal(
      [status, stdout],
      [0, "2026-03-01T08:12:41Z web-1  | GET / 503\n2026-03-01T08:12:42Z web-22 | GET /x 503\n"],
    );
    assert.match(stderr, "web-3 on c: node c is silent (NODE_AWAY)");
    assert.match(stderr, "older lines");
    assert.equal(server.asked, [
      "/v1/subscriptions/web/logs?since=15m&grep=5\\d\\d&regex=true&ignoreCase=true&tail=9",
    ]);
  });

  test("of one process ask for it alone", async () => {
    await using server = await aServer({ ...found, items: found.items.slice(0, 1) });
    const { stdout } = await run(server, "logs", "web-1", "--until", "1h", "-o", "json");
    assert.equal(JSON.parse(stdout), found.items[0]);
    assert.equal(server.asked, [
      "/v1/subscriptions/web/logs?tenant=default&until=1h&process=web-1",
    ]);
  });

  test("say what does not go together", async () => {
    await using server = await aServer(found);
    for (const args of [["--follow", "--grep", "x"], ["-E"], ["-i"]])
      assert.is((await run(server, "logs", "web", ...args)).status, 2, args.join(" "));
    assert.equal(server.asked, []);
  });
});

suite("metrics query", (test) => {
  const answer = {
    metric: "cpu",
    unit: "millis",
    agg: "sum",
    since: "2026-03-01T08:00:00.000Z",
    until: "2026-03-01T09:00:00.000Z",
    step: 900,
    series: [
      {
        labels: { tenant: "default", subscription: "web" },
        points: [
          [1000, 0],
          [1900, 250.5],
          [2800, 500],
        ],
      },
    ],
  };

  test("draws the course of each series", async () => {
    await using server = await aServer(answer);
    const { stdout } = await run(server, "metrics", "query", "cpu", "--subscription", "web");
    const [head = "", line = ""] = stdout.split("\n");
    assert.match(head, "cpu (millis, sum)");
    assert.equal(line.split(/ {2,}/), ["web", "500", "0", "500", "▁▅█"]);
    assert.equal(server.asked, ["/v1/metrics/query?metric=cpu&subscription=web"]);
  });

  test("gives points to programs", async () => {
    await using server = await aServer(answer);
    const { stdout } = await run(server, "metrics", "query", "cpu", "-o", "csv", "--since", "1h");
    assert.is(stdout, "of,time,value\nweb,1000,0\nweb,1900,250.5\nweb,2800,500\n");
  });

  test("without a name says which there are", async () => {
    const names = [{ name: "cpu", unit: "millis", by: ["process"], summary: "time" }];
    await using server = await aServer({ items: names });
    const { stdout } = await run(server, "metrics", "query");
    assert.match(stdout, /cpu +millis +process +time/);
  });
});
