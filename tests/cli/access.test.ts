import { assert, suite } from "../support/suite.ts";
import { aControllerServer } from "./support/controller-server.ts";
import { runCli } from "./support/run-cli.ts";

const now = Date.parse("2026-01-01T01:00:00Z");

suite("strata tenant, token and audit", (test) => {
  test("make a tenant with a quota and a token of it, rotate it, and say who did what", async () => {
    await using server = await aControllerServer();
    const strata = async (...args: readonly string[]): Promise<string> => {
      const { status, stdout, stderr } = await runCli(args, { env: server.env, now });
      assert.is(status, 0, `${args.join(" ")}: ${stderr}`);
      return stdout;
    };
    const quota = ["--processes", "5", "--cpu", "1.5", "--memory", "2Gi", "--storage", "1Gi"];
    assert.is(await strata("tenant", "set", "acme", ...quota), "Tenant/acme is at revision 1\n");
    assert.match(await strata("tenant", "ls"), /^acme +0\/5 +0\/1.5 +0B\/2GiB +0B\/1GiB/m);
    const create = ["token", "create", "ci", "--scope", "viewer", "--tenant", "acme"];
    const token = (await strata(...create, "--expires-in", "1h")).trim();
    assert.match(token, /^strata_token-/);
    const id = token.split("_")[1] ?? "";
    const rotated = (await strata("token", "rotate", id, "--overlap", "1m")).trim();
    assert.is.not(rotated, token);
    for (const one of [token, rotated]) {
      const env = { ...server.env, STRATA_TOKEN: one };
      assert.is((await runCli(["get", "tenants"], { env, now })).status, 0);
    }
    assert.match(await strata("token", "ls"), new RegExp(`^${id} +ci +viewer +acme`, "m"));
    await strata("token", "delete", id);
    await strata("tenant", "delete", "acme");
    const audit = await strata("audit", "--path", "/v1/t");
    assert.match(audit, /200 +token-\S+ +\S+ +default +PUT \/v1\/tenants\/acme/);
    assert.match(audit, /204 +token-\S+ .*DELETE \/v1\/tenants\/acme/);
    const json = (await strata("audit", "-o", "json", "--path", "/v1/tokens")).trim().split("\n");
    assert.equal(
      json.map((line) => JSON.parse(line).path),
      ["/v1/tokens", `/v1/tokens/${id}/rotate`, `/v1/tokens/${id}`],
    );
    assert.not.ok(audit.includes(token) || json.join().includes(rotated));
  });

  test("want a scope for a token", async () => {
    await using server = await aControllerServer();
    const { status, stderr } = await runCli(["token", "create", "ci"], { env: server.env, now });
    assert.is(status, 2);
    assert.match(stderr, /--scope/);
  });
});
