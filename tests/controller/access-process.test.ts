/** Access as the real program has it: over sockets, with the real store, on a disk, and killed. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import type { AuditEntry } from "@strata/protocol/api/audit";

import { aControllerProcess, type ControllerProcess } from "../support/controller-process.ts";
import { aFakeAgent } from "../support/fake-agent.ts";
import { pushImage } from "../support/push-image.ts";
import { createClient } from "../support/registry-client.ts";
import { assert, suite } from "../support/suite.ts";

const TIMEOUT = { timeoutMs: 150_000 };

async function aToken(
  { call }: ControllerProcess,
  [scope, tenant]: readonly [string, string],
): Promise<string> {
  if (tenant !== "default") await call("PUT", `/v1/tenants/${tenant}`, { body: {} });
  const body = { name: `${scope}-${tenant}`, scope, tenant };
  return (await call("POST", "/v1/tokens", { body })).body.token;
}

async function auditOf(
  controller: ControllerProcess,
  path: string,
): Promise<readonly AuditEntry[]> {
  return (await controller.call("GET", `/v1/audit?limit=1000&path=${path}`)).body.items;
}

/** Every file under the folder whose bytes have the text. */
function filesWith(folder: string, text: string): readonly string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => readFileSync(file).includes(text));
}

suite("access of the controller as a program", (test) => {
  test(
    "repositories of a tenant are its own, also in the audit log; wrong passwords end in 429",
    async () => {
      await using controller = await aControllerProcess();
      const { url } = controller;
      const acme = await aToken(controller, ["push", "acme"]);
      const horse = await aToken(controller, ["push", "horse"]);
      const admin = controller.adminToken();
      const digest = await pushImage({ url, token: acme }, { repository: "acme/web", tag: "1" });
      await pushImage({ url, token: admin }, { repository: "base", tag: "1" });
      const pull = async (token: string, path: string): Promise<number> => {
        const password = Buffer.from(`x:${token}`).toString("base64");
        const client = createClient(url, `Basic ${password}`);
        return (await client.send("GET", `/v2/${path}`)).status;
      };
      assert.is(await pull(acme, `acme/web/manifests/${digest}`), 200);
      assert.is(await pull(admin, `acme/web/manifests/${digest}`), 200);
      assert.is(await pull(horse, "base/manifests/1"), 200, "what belongs to default is for all");
      const refused = [
        await pull(horse, "acme/web/tags/list"),
        await pull(horse, "acme/no/tags/list"),
      ];
      assert.equal(refused, [403, 403], "there or not is all the same");
      for (const repository of ["acme/web", "base"]) {
        const pushed = pushImage({ url, token: horse }, { repository, tag: "2" });
        assert.match(await pushed.catch(String), /403/);
      }
      const denied = await createClient(url, `Bearer ${horse}`).send(
        "DELETE",
        `/v2/acme/web/manifests/${digest}`,
      );
      assert.is(denied.status, 403);
      const lines = await auditOf(controller, "/v2/acme/web/manifests");
      assert.equal(
        lines.map(({ method, status, tenant }) => [method, status, tenant]),
        [
          ["PUT", 201, "acme"],
          ["DELETE", 403, "horse"],
        ],
      );
      assert.ok(lines.every(({ address }) => address === "127.0.0.1"));
      // A slow machine gives back one a second meanwhile.
      const refusedUntil = async (ask: () => Promise<number>): Promise<number> => {
        for (let tries = 0; tries < 1000; tries += 1) {
          const status = await ask();
          if (status !== 401) return status;
        }
        return 401;
      };
      assert.is(await refusedUntil(() => pull("nonsense", "base/tags/list")), 429);
      const asked = async (): Promise<number> =>
        (await controller.call("GET", "/v1/nodes", { token: "nonsense" })).status;
      assert.is(await refusedUntil(asked), 429);
      assert.is(await pull(acme, `acme/web/manifests/${digest}`), 200, "right ones still pass");
    },
    TIMEOUT,
  );

  test(
    "the value of a secret is in no file but under its key, in no log, no answer and no event; each acknowledged change has its line after a kill",
    async () => {
      const value = "correct-horse-battery-staple-7261";
      await using controller = await aControllerProcess({
        environment: { STRATA_LOG_LEVEL: "trace" },
      });
      const { call, dataDirectory, url } = controller;
      await pushImage({ url, token: controller.adminToken() }, { repository: "hello", tag: "1" });
      await call("PUT", "/v1/partitions/web", { body: {} });
      await call("PUT", "/v1/cartridges/hello", { body: { image: "hello:1", partition: "web" } });
      const agent = await aFakeAgent(controller);
      await call("PUT", "/v1/secrets/db", { body: { text: value } });
      // Refused ones as well: wrong fields, a wrong name, a wrong token.
      await call("PUT", "/v1/secrets/db", { body: { text: value, extra: value } });
      await call("PUT", "/v1/secrets/UPPER", { body: { text: value } });
      await call("PUT", "/v1/secrets/db", { body: { text: value }, token: "nonsense" });
      await call("PUT", "/v1/subscriptions/shop", {
        body: { cartridge: "hello", secretEnv: { PASSWORD: "db" } },
      });
      let granted = "";
      for (let tries = 0; granted === "" && tries < 1000; tries += 1) {
        await agent.work();
        const path = `/v1/nodes/${agent.nodeId}/secrets/db/1?tenant=default`;
        const { status, body } = await call("GET", path, { token: agent.credential });
        if (status === 200) granted = Buffer.from(body.base64, "base64").toString();
      }
      assert.is(granted, value, "the node that runs it is given it");
      const told = JSON.stringify([...agent.told.values()]);
      const shown = await Promise.all(
        ["/v1/events?limit=1000", "/v1/audit", "/v1/secrets/db", "/v1/subscriptions/shop"].map(
          async (path) => JSON.stringify((await call("GET", path)).body),
        ),
      );
      const encoded = [value, Buffer.from(value).toString("base64")];
      for (const text of encoded)
        assert.not.ok([told, ...shown].some((answer) => answer.includes(text)));
      const before = (await auditOf(controller, "/v1/partitions")).length;
      let acknowledged = 0;
      const writing = (async () => {
        for (;;) {
          const path = `/v1/partitions/p${acknowledged + 1}`;
          const answer = await call("PUT", path, { body: {} }).catch(() => undefined);
          if (answer?.status !== 201) return;
          acknowledged += 1;
          if (acknowledged === 25) void controller.kill("SIGKILL");
        }
      })();
      await writing;
      await controller.kill("SIGKILL");
      for (const text of encoded) {
        // Killed: the write-ahead log is as it was.
        assert.equal(filesWith(dataDirectory, text), []);
        assert.not.ok(controller.output().includes(text));
      }
      await controller.start();
      const lines = (await auditOf(controller, "/v1/partitions")).length - before;
      const made = (await call("GET", "/v1/partitions?limit=1000")).body.items.length - 1;
      assert.is(lines, made, "a line for each change that is there");
      assert.ok(made >= acknowledged && acknowledged >= 25, `${made} of ${acknowledged}`);
    },
    TIMEOUT,
  );
});
