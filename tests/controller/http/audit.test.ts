import { join } from "node:path";

import { createTrimAudit } from "@strata/controller/loops/trim-audit";
import { listAudit } from "@strata/controller/store/audit";
import { audit } from "@strata/controller/store/schema-access";
import Database from "better-sqlite3";

import { aController, type Answer, type TestController } from "../../support/controller.ts";
import { aFakeAgent, prepare } from "../../support/fake-agent.ts";
import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

type Line = {
  readonly principal: string;
  readonly scope: string | null;
  readonly tenant: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly code: string | null;
  readonly requestId: string;
};

async function lines({ call }: TestController, query = ""): Promise<readonly Line[]> {
  return (await call("GET", `/v1/audit?limit=1000${query}`)).body.items;
}

async function last(controller: TestController): Promise<Line | undefined> {
  return (await lines(controller)).at(-1);
}

async function aToken({ call }: TestController, scope: string): Promise<string> {
  const { body } = await call("POST", "/v1/tokens", { body: { name: `t-${scope}`, scope } });
  return body.token;
}

suite("the audit log", (test) => {
  test("has who, what and the result of each change, in the order of the changes", async () => {
    await using controller = await aController();
    const before = (await lines(controller)).length;
    await prepare(controller, 1);
    await controller.call("DELETE", "/v1/subscriptions/hi");
    const fresh = (await lines(controller)).slice(before);
    assert.equal(
      fresh.map(({ method, path, status, code }) => [method, path, status, code]),
      [
        ["PUT", "/v1/partitions/web", 200, null],
        ["PUT", "/v1/cartridges/hello", 200, null],
        ["PUT", "/v1/subscriptions/hi", 200, null],
        ["DELETE", "/v1/subscriptions/hi", 202, null],
      ],
    );
    assert.ok(fresh.every(({ scope, tenant }) => scope === "admin" && tenant === "default"));
    assert.is(new Set(fresh.map(({ requestId }) => requestId)).size, 4);
  });

  test("has refused requests with their code, whoever asked", async () => {
    await using controller = await aController();
    await prepare(controller);
    const viewer = await aToken(controller, "viewer");
    const ask = (options: object): Promise<Answer> =>
      controller.call("PUT", "/v1/subscriptions/hi", { body: { cartridge: "hello" }, ...options });
    const answer = await ask({ token: "nonsense" });
    assert.equal(await last(controller), {
      ...(await last(controller)),
      principal: "anonymous",
      scope: null,
      status: 401,
      code: "UNAUTHENTICATED",
      requestId: answer.headers.get("strata-request-id"),
    });
    await ask({ token: viewer });
    const forbidden = await last(controller);
    assert.match(forbidden?.principal ?? "", /^token-/);
    assert.equal([forbidden?.status, forbidden?.code], [403, "FORBIDDEN"]);
    await ask({ body: { cartridge: "none" } });
    assert.is((await last(controller))?.code, "REFERENCE_UNKNOWN");
    await ask({ body: "{" });
    assert.is((await last(controller))?.code, "JSON_INVALID");
  });

  test("names the tenant that a change was for", async () => {
    await using controller = await aController();
    await prepare(controller);
    await controller.call("PUT", "/v1/tenants/acme", { body: {} });
    await controller.call("PUT", "/v1/subscriptions/x?tenant=acme", {
      body: { cartridge: "hello" },
    });
    assert.is((await last(controller))?.tenant, "acme");
    assert.is((await lines(controller, "&tenant=acme")).length, 1);
  });

  test("has commands in containers, what is copied out of them and dry runs", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    controller.settle();
    const { body } = await controller.call("GET", "/v1/processes");
    const path = `/v1/processes/${body.items[0].id}`;
    await controller.call("POST", `${path}/exec`, { body: { command: ["id"] } });
    assert.equal((await last(controller))?.path, `${path}/exec`);
    assert.is((await last(controller))?.code, "PROCESS_NOT_RUNNING");
    await controller.call("GET", `${path}/files?path=/etc/passwd`);
    assert.is((await last(controller))?.path, `${path}/files`);
    const document = { kind: "Subscription", name: "dry", cartridge: "hello" };
    await controller.call("POST", "/v1/apply?dryRun=true", { body: document });
    assert.equal((await last(controller))?.path, "/v1/apply");
  });

  test("has no reads, no reports of agents and no posted metrics", async () => {
    await using controller = await aController();
    await prepare(controller, 1);
    const agent = await aFakeAgent(controller);
    const before = (await lines(controller)).length;
    controller.settle();
    await agent.work();
    await controller.call("GET", "/v1/nodes");
    await controller.call("POST", "/v1/subscriptions/hi/metrics", { body: { values: { a: 1 } } });
    assert.is((await lines(controller)).length, before);
  });

  test("has no line of a change that was taken back, and one of its refusal", async () => {
    await using controller = await aController();
    await prepare(controller);
    const before = (await lines(controller)).length;
    const documents = [
      { kind: "Subscription", name: "good", cartridge: "hello" },
      { kind: "Subscription", name: "bad", cartridge: "none" },
    ];
    await controller.call("POST", "/v1/apply", { body: documents });
    const fresh = (await lines(controller)).slice(before);
    assert.equal(
      fresh.map(({ status, code }) => [status, code]),
      [[422, "REFERENCE_UNKNOWN"]],
    );
  });

  test("holds no body and no secret", async () => {
    await using controller = await aController();
    const made = await controller.call("POST", "/v1/tokens", {
      body: { name: "ci", scope: "viewer" },
    });
    await controller.call("PUT", "/v1/secrets/db", { body: { text: "hunter2 hunter2" } });
    await controller.call("PUT", "/v1/secrets/db?text=hunter2", {
      body: { text: "" },
      token: made.body.token,
    });
    const text = JSON.stringify(listAudit(controller.services.store.sql, all));
    assert.not.match(text, /hunter2/);
    assert.not.ok(text.includes(made.body.token.split("_")[2]));
  });

  test("is the admins' alone, paged, filtered, and exported a line each", async () => {
    await using controller = await aController();
    await prepare(controller, 2);
    const operator = await aToken(controller, "operator");
    assert.is((await controller.call("GET", "/v1/audit", { token: operator })).status, 403);
    const first = await controller.call("GET", "/v1/audit?limit=2");
    assert.is(first.body.items.length, 2);
    const second = await controller.call("GET", `/v1/audit?limit=2&after=${first.body.next}`);
    assert.is(second.body.items[0].id, first.body.items[1].id + 1);
    assert.is((await lines(controller, "&path=/v1/partitions")).length, 1);
    assert.is((await lines(controller, "&path=/v1/part_tions")).length, 0);
    assert.is((await lines(controller, "&principal=nobody")).length, 0);
    controller.advance(1000);
    const since = new Date(controller.services.clock.nowMs()).toISOString();
    assert.is((await lines(controller, `&since=${since}`)).length, 0);
    const exported = await controller.request("/v1/audit?format=ndjson", {
      headers: { authorization: `Bearer ${controller.adminToken}` },
    });
    const text = await exported.text();
    const parsed = text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.equal(parsed, (await controller.call("GET", "/v1/audit?limit=1000")).body.items);
  });

  test("is written once: no entry can be changed", async () => {
    await using controller = await aController();
    const { store } = controller.services;
    await prepare(controller);
    assert.throws(
      () => store.sql.update(audit).set({ principal: "somebody else" }).run(),
      /append-only/,
    );
  });

  test("keeps its days, and lets older entries go bit by bit", async () => {
    await using controller = await aController({ environment: { STRATA_AUDIT_DAYS: "30" } });
    const { store, clock, config } = controller.services;
    await prepare(controller, 1);
    const old = (await lines(controller)).length;
    controller.advance(31 * 24 * 3_600_000);
    await controller.call("PUT", "/v1/partitions/new", { body: {} });
    const trim = createTrimAudit({ sql: store.sql, days: config.auditDays, nowMs: clock.nowMs });
    assert.is(trim(), false);
    const kept = await lines(controller);
    assert.equal(
      kept.map(({ path }) => path),
      ["/v1/partitions/new"],
    );
    assert.is(old, 3);
  });

  test("has the line of every change that another reader of the database sees", async () => {
    await using folder = aTemporaryDirectory();
    const file = join(folder.path, "strata.db");
    await using controller = await aController({ file });
    await prepare(controller);
    // Another connection sees what is committed, as the next start after a kill would.
    const reader = new Database(file, { readonly: true });
    try {
      const look = reader.prepare<[string, string], { p: number; a: number }>(
        `select (select count(*) from partitions where name = ?) as p,
          (select count(*) from audit where path = ?) as a`,
      );
      for (let count = 1; count <= 20; count += 1) {
        const path = `/v1/partitions/p${count}`;
        const pending = controller.call("PUT", path, { body: {} });
        let seen: { readonly p: number; readonly a: number } | undefined;
        while ((seen?.p ?? 0) === 0) {
          seen = look.get(`p${count}`, path);
          await new Promise((resolve) => void setImmediate(resolve));
        }
        assert.is(seen?.a, 1, "never the change without its line");
        await pending;
      }
    } finally {
      reader.close();
    }
  });
});

const all = { filter: {}, after: 0, limit: 1000 };
