import { aLoopbackServer } from "../support/loopback-server.ts";
import { assert, suite } from "../support/suite.ts";
import { runCli } from "./support/run-cli.ts";

const process = {
  pid: 2,
  user: 33,
  state: "sleeping",
  cpuPercent: 0,
  memoryBytes: 3 * 1024 * 1024,
  threads: 4,
  startedAt: "2026-01-01T00:00:00Z",
  command: "server",
};
const top = {
  at: "2026-01-01T01:00:00Z",
  total: 1002,
  processes: [
    process,
    { ...process, pid: 7, cpuPercent: 99.5, command: "evil\u001b[2J\nPID 1 fake" },
  ],
};

suite("top", (test) => {
  test("shows the busiest first, in lines that no process can break", async () => {
    await using server = await aLoopbackServer((request, response) => {
      const isTop = request.url === "/v1/processes/web-1/top";
      response.end(JSON.stringify(isTop ? top : { id: "web-1", ready: true, state: "running" }));
    });
    const options = {
      env: { STRATA_URL: server.url, STRATA_TOKEN: "t" },
      now: Date.parse(top.at),
    };
    const { stdout, stderr } = await runCli(["top", "web-1"], options);
    const lines = stdout.split("\n").map((line) => line.split(/ {2,}/));
    assert.is(stderr, "");
    assert.equal(lines, [
      ["PID", "USER", "STATE", "CPU%", "MEMORY", "THREADS", "AGE", "COMMAND"],
      ["7", "33", "sleeping", "99.5", "3Mi", "4", "1h", "evil PID 1 fake"],
      ["2", "33", "sleeping", "0.0", "3Mi", "4", "1h", "server"],
      ["and 1000 more"],
      [""],
    ]);
    const json = await runCli(["top", "web-1", "-o", "json"], options);
    assert.equal(JSON.parse(json.stdout), top);
  });
});
