import { assert, suite } from "../support/suite.ts";
import { aControllerServer } from "./support/controller-server.ts";
import { runCli } from "./support/run-cli.ts";

const now = Date.parse("2026-01-01T01:00:00Z");

suite("strata route", (test) => {
  test("sets, lists and deletes routes", async () => {
    await using server = await aControllerServer();
    const strata = (args: readonly string[]): ReturnType<typeof runCli> =>
      runCli(args, { env: server.env, now });
    const put = async (path: string, body: object): Promise<void> => {
      const answer = await server.controller.call("PUT", path, { body });
      assert.ok(answer.status <= 201, JSON.stringify(answer.body));
    };
    await put("/v1/partitions/web", {});
    const ports = [{ name: "http", containerPort: 80 }];
    await put("/v1/cartridges/hello", { image: "hello:1", partition: "web", ports });
    await put("/v1/subscriptions/hi", { cartridge: "hello" });
    const set = ["route", "set", "shop", "--to", "hi:http=7", "--path", "/shop", "--sticky"];
    const runs = [
      await strata([...set, "--host", "a.example.com", "--host", "b.example.com"]),
      await strata(["route", "ls"]),
      await strata(["get", "route", "shop", "-o", "json"]),
      await strata(["route", "delete", "shop"]),
    ];
    assert.equal(
      runs.map(({ status }) => status),
      [0, 0, 0, 0],
      JSON.stringify(runs),
    );
    assert.is(runs[0]?.stdout, "Route/shop is at revision 1: no node has the role ingress\n");
    assert.match(
      runs[1]?.stdout ?? "",
      /shop +a\.example\.com,b\.example\.com +\/shop +0 +no node/,
    );
    assert.match(runs[2]?.stdout ?? "", /"weight": 7/);
    assert.is(runs[3]?.stdout, "Route/shop deleted\n");
  });

  test("refuses a route to nowhere, and one that cannot be read", async () => {
    await using server = await aControllerServer();
    for (const args of [[], ["--to", "a:b:c"], ["--to", "a=x"]]) {
      const { status } = await runCli(["route", "set", "x", ...args], { env: server.env, now });
      assert.is(status, 2);
    }
  });
});
