import { ensureIngressAuthority } from "@strata/controller/pki/authority";
import { issueHostCertificate } from "@strata/controller/pki/host-certificate";
import type { CheckedCertificate } from "@strata/controller/pki/read-certificate";
import { getCertificate } from "@strata/controller/store/certificates";

import { aController, type Answer, type TestController } from "../../support/controller.ts";
import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

async function aCertificate({ services }: TestController): Promise<CheckedCertificate> {
  await using folder = aTemporaryDirectory();
  const nowMs = services.clock.nowMs();
  const authority = await ensureIngressAuthority(folder.path, nowMs);
  return await issueHostCertificate(authority, { hosts: ["www.example.com"], nowMs });
}

function put({ call }: TestController, body: object, options = {}): Promise<Answer> {
  return call("PUT", "/v1/certificates/shop", { body, ...options });
}

async function tokenOf({ call }: TestController, tenant: string, scope: string): Promise<string> {
  await call("PUT", `/v1/tenants/${tenant}`, { body: {} });
  const body = { name: `${tenant}-${scope}`, tenant, scope };
  return (await call("POST", "/v1/tokens", { body })).body.token;
}

suite("certificates of a tenant", (test) => {
  test("are shown without their keys, which are nowhere in the clear", async () => {
    await using controller = await aController();
    const { chain, key } = await aCertificate(controller);
    const created = await put(controller, { source: "given", chain, key });
    assert.is(created.status, 201);
    assert.equal(created.body.hosts, ["www.example.com"]);
    assert.is(created.body.status.state, "ready");
    assert.is(created.body.status.renewAt, null);
    const again = await put(controller, { source: "given", chain, key });
    assert.is(again.status, 200);
    assert.is(again.body.revision, 1);
    const middle = key.split("\n")[1] ?? "none";
    const paths = ["/v1/certificates", "/v1/certificates/shop", "/v1/events", "/v1/audit"];
    for (const path of paths) {
      const { status, body } = await controller.call("GET", path);
      assert.is(status, 200);
      assert.not.ok(JSON.stringify(body).includes(middle));
    }
    const row = getCertificate(controller.services.store.sql, { tenant: "default", name: "shop" });
    assert.not.ok(JSON.stringify(row).includes(middle));
    assert.match(row?.sealedKey ?? "", /^v1\./);
    controller.advance(91 * 86_400_000);
    assert.is((await controller.call("GET", "/v1/certificates/shop")).body.status.state, "expired");
  });

  test("are changed by who saw them last, and deleted", async () => {
    await using controller = await aController();
    const body = { source: "internal", hosts: ["a.example.com"] };
    await put(controller, body);
    const stale = { headers: { "if-match": '"7"' } };
    assert.is((await put(controller, body, stale)).body.code, "REVISION_STALE");
    const changed = await put(controller, { ...body, hosts: ["b.example.com"] });
    assert.is(changed.body.revision, 2);
    assert.is((await controller.call("DELETE", "/v1/certificates/shop")).status, 204);
    const gone = await controller.call("GET", "/v1/certificates/shop");
    assert.is(gone.body.code, "NOT_FOUND");
  });

  test("are their tenant's alone, and a viewer changes none", async () => {
    await using controller = await aController();
    const [one, two] = [
      await tokenOf(controller, "one", "deployer"),
      await tokenOf(controller, "two", "deployer"),
    ];
    const viewer = await tokenOf(controller, "one", "viewer");
    const body = { source: "internal", hosts: ["a.example.com"] };
    assert.is((await put(controller, body, { token: one })).status, 201);
    const get = (path: string, token: string): Promise<Answer> =>
      controller.call("GET", path, { token });
    assert.is((await get("/v1/certificates/shop", two)).status, 404);
    assert.is((await get("/v1/certificates/shop?tenant=one", two)).status, 403);
    assert.equal((await get("/v1/certificates", two)).body.items, []);
    assert.is((await get("/v1/certificates/shop", viewer)).status, 200);
    assert.is((await put(controller, body, { token: viewer })).status, 403);
    const owned = await controller.call("DELETE", "/v1/tenants/one");
    assert.is(owned.body.code, "IN_USE");
    assert.match(owned.body.detail, /certificate shop/);
  });

  test("refuse what cannot be one, and say why", async () => {
    await using controller = await aController();
    const { chain } = await aCertificate(controller);
    const { key } = await aCertificate(controller);
    const wrong = await put(controller, { source: "given", chain, key });
    assert.equal([wrong.status, wrong.body.code], [422, "CERTIFICATE_INVALID"]);
    for (const body of [
      { source: "internal", hosts: [] },
      { source: "internal", hosts: ["Www.example.com"] },
      { source: "internal", hosts: ["a..example.com"] },
      { source: "internal", hosts: ["a\nb.example.com"] },
      { source: "acme", hosts: ["*.example.com"] },
      { source: "acme", hosts: ["a.example.com"], contact: ["nobody"] },
      { source: "acme", hosts: ["a.example.com"], directory: "http://acme.example/dir" },
      { source: "none" },
    ]) {
      const { status, body: problem } = await put(controller, body);
      assert.equal([status, problem.code], [422, "INVALID"], JSON.stringify(body));
    }
  });

  test("may stand in files, but a key may not", async () => {
    await using controller = await aController();
    const apply = (body: object): Promise<Answer> => controller.call("POST", "/v1/apply", { body });
    const document = { kind: "Certificate", name: "shop" };
    const done = await apply({ ...document, source: "internal", hosts: ["a.example.com"] });
    assert.equal(done.body.results[0], {
      kind: "Certificate",
      name: "shop",
      action: "created",
      changes: done.body.results[0].changes,
    });
    const { chain, key } = await aCertificate(controller);
    assert.is((await apply({ ...document, source: "given", chain, key })).status, 422);
  });
});
