import { ExecResult } from "@strata/protocol/api/resources";

import {
  aRunningInstance,
  mustBecome,
  pageOf,
  strata,
  urlOf,
} from "../support/running-instance.ts";
import { assert, suite } from "../support/suite.ts";

suite("the php cartridge", (test) => {
  test(
    "runs 3 processes on one node, each answers; goes to 1, to 5, and away",
    async () => {
      await using running = await aRunningInstance();
      const { call, mustCall, readyProcesses } = running;
      await strata(running.instance, "cartridge", "build", "examples/php", "--push", "-t", "php:1");
      await mustCall("PUT", "/v1/cartridges/php", { image: "php:1", partition: "local" });
      await mustCall("PUT", "/v1/subscriptions/web", { cartridge: "php", processes: 3 });

      const three = await readyProcesses("web", 3);
      for (const one of three) assert.match(await pageOf(urlOf(one)), one.id);
      assert.is(new Set(three.map(urlOf)).size, 3);
      assert.is(new Set(three.map((one) => one.node)).size, 1);

      await mustCall("POST", "/v1/subscriptions/web/scale", { processes: 1 });
      const [one] = await readyProcesses("web", 1);
      assert.match(await pageOf(urlOf(one)), one?.id ?? "");
      await mustCall("POST", "/v1/subscriptions/web/scale", { processes: 5 });
      const five = await readyProcesses("web", 5);
      for (const each of five) assert.match(await pageOf(urlOf(each)), each.id);

      const id = one?.id ?? "";
      await mustBecome("the access log has the request", async () => {
        const { text } = await call("GET", `/v1/processes/${id}/logs?tail=20`);
        return text.includes('"GET / HTTP/1.1" 200') ? true : undefined;
      });
      const command = ["php", "-r", "echo 6 * 7; exit(3);"];
      const exec = ExecResult.parse(
        await mustCall("POST", `/v1/processes/${id}/exec`, { command }),
      );
      assert.equal([exec.stdout, exec.exitCode], ["42", 3]);

      await mustCall("DELETE", "/v1/subscriptions/web");
      await mustBecome("the subscription is gone", async () =>
        (await call("GET", "/v1/subscriptions/web")).status === 404 ? true : undefined,
      );
      for (const each of five) {
        assert.is((await call("GET", `/v1/processes/${each.id}`)).status, 404);
        const page = await pageOf(urlOf(each)).catch(() => "silence");
        assert.is(page, "silence", `${each.id} still answers`);
      }
    },
    { timeoutMs: 400_000 },
  );
});
