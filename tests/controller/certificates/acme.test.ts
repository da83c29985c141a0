import { X509Certificate } from "node:crypto";

import { listChallenges } from "@strata/controller/store/certificates";

import { aChallengeServer, anAcmeServer } from "../../support/acme-server.ts";
import { type Answer, aController, type TestController } from "../../support/controller.ts";
import { assert, suite } from "../../support/suite.ts";

const HOUR_MS = 3_600_000;

type Scene = AsyncDisposable & {
  readonly controller: TestController;
  /** Ticks once and waits for the tries of that. */
  readonly look: () => Promise<void>;
  readonly show: (name: string) => Promise<Answer["body"]>;
};

async function aScene(directory: string): Promise<Scene> {
  const controller = await aController({
    environment: { STRATA_DOMAIN: "apps.test", STRATA_ACME_DIRECTORIES: directory },
    startMs: Date.now(),
  });
  const loop = controller.ticks.certificates;
  await controller.call("PUT", "/v1/partitions/p", { body: {} });
  await controller.call("PUT", "/v1/cartridges/hello", {
    body: { image: "hello:2", partition: "p" },
  });
  await controller.call("PUT", "/v1/subscriptions/web", { body: { cartridge: "hello" } });
  return {
    controller,
    look: async () => {
      await loop.tick();
      await loop.idle();
    },
    show: async (name) => (await controller.call("GET", `/v1/certificates/${name}`)).body,
    [Symbol.asyncDispose]: async () => {
      await loop.close();
      await controller[Symbol.asyncDispose]();
    },
  };
}

const host = "web.default.apps.test";

suite("a certificate of an ACME server", (test) => {
  test("is ordered, proven over HTTP, and renewed at two thirds of its life", async () => {
    await using server = await anAcmeServer();
    await using scene = await aScene(server.directory);
    const { controller, look, show } = scene;
    const { sql } = controller.services.store;
    await using _ = await aChallengeServer(
      server,
      (asked) => listChallenges(sql).find(({ token }) => token === asked)?.answer,
    );
    const body = {
      source: "acme",
      hosts: [host, "api.default.apps.test"],
      contact: ["me@example.com"],
    };
    const put = await controller.call("PUT", "/v1/certificates/web", { body });
    assert.is(put.status, 201);
    assert.is(put.body.status.state, "pending");
    assert.is(put.body.directory, server.directory);
    await look();
    const first = await show("web");
    assert.is(first.status.message, null);
    assert.is(first.status.state, "ready");
    assert.equal(first.status.names.toSorted(), body.hosts.toSorted());
    assert.match(first.status.issuer, /Pebble/);
    assert.equal(listChallenges(sql), []);

    await look();
    assert.is((await show("web")).status.fingerprint, first.status.fingerprint, "nothing is due");
    controller.advance(Date.parse(first.status.renewAt) - controller.services.clock.nowMs());
    await look();
    const second = await show("web");
    assert.is(second.status.message, null);
    assert.is.not(second.status.fingerprint, first.status.fingerprint);
  });

  test("is not had while the host leads elsewhere; the reason is shown, and tries come later and later", async () => {
    await using server = await anAcmeServer();
    await using scene = await aScene(server.directory);
    const { controller, look, show } = scene;
    const waits: number[] = [];
    await using _ = await aChallengeServer(server, () => undefined);
    await controller.call("PUT", "/v1/certificates/web", {
      body: { source: "acme", hosts: [host] },
    });
    for (const wait of [0, 5, 10]) {
      controller.advance(wait * 60_000);
      await look();
      const { status } = await show("web");
      assert.is(status.state, "failing");
      assert.match(status.message, /web\.default\.apps\.test: .*404/);
      waits.push(Date.parse(status.nextTryAt) - controller.services.clock.nowMs());
      await look();
      assert.is(
        (await show("web")).status.nextTryAt,
        status.nextTryAt,
        "not tried before its time",
      );
    }
    assert.equal(
      waits,
      [5, 10, 20].map((minutes) => minutes * 60_000),
    );
    const { body } = await controller.call("GET", "/v1/events?type=certificate.failed");
    assert.is(body.items.length, 3);
  });

  test("is asked for with the account that the server knows beforehand", async () => {
    const key = Buffer.alloc(32, 7).toString("base64url");
    await using server = await anAcmeServer({ accounts: { "kid-1": key } });
    await using scene = await aScene(server.directory);
    const { controller, look, show } = scene;
    const { sql } = controller.services.store;
    await using _ = await aChallengeServer(
      server,
      (asked) => listChallenges(sql).find(({ token }) => token === asked)?.answer,
    );
    const body = { source: "acme", hosts: [host] };
    const externalAccount = { keyId: "kid-1", secret: "acme" };
    await controller.call("PUT", "/v1/certificates/none", { body });
    await controller.call("PUT", "/v1/certificates/web", { body: { ...body, externalAccount } });
    await look();
    assert.match((await show("none")).status.message, /externalAccountBinding/);
    assert.match((await show("web")).status.message, /no secret acme/);
    await controller.call("PUT", "/v1/secrets/acme", { body: { text: key } });
    controller.advance(HOUR_MS);
    await look();
    const { status } = await show("web");
    assert.is(status.message, null);
    assert.is(status.state, "ready");
  });

  test("is asked for hosts of the tenant's own alone, and of servers that the operator allows", async () => {
    await using scene = await aScene("https://127.0.0.1:1/dir");
    const { controller, look, show } = scene;
    const body = { source: "acme", hosts: ["www.example.com"] };
    const other = { ...body, directory: "https://127.0.0.1:2/dir" };
    const refused = await controller.call("PUT", "/v1/certificates/web", { body: other });
    assert.is(refused.status, 422);
    assert.is(refused.body.code, "ACME_DIRECTORY_UNKNOWN");
    await controller.call("PUT", "/v1/certificates/web", { body });
    await look();
    const { status } = await show("web");
    assert.is(status.message, "www.example.com is a host of no route of tenant default");
    assert.is(status.nextTryAt, null, "nobody was asked");
    await controller.call("PUT", "/v1/certificates/dead", { body: { ...body, hosts: [host] } });
    await look();
    assert.match((await show("dead")).status.message, /ECONNREFUSED/);
  });
});

suite("a certificate of our CA", (test) => {
  test("is issued at once for the tenant's hosts, and again when it asks for others", async () => {
    await using scene = await aScene("https://127.0.0.1:1/dir");
    const { controller, look, show } = scene;
    const put = (hosts: readonly string[]): Promise<Answer> =>
      controller.call("PUT", "/v1/certificates/own", { body: { source: "internal", hosts } });
    await put([host]);
    await look();
    const first = await show("own");
    assert.is(first.status.state, "ready");
    assert.is(first.status.issuer, "CN=Strata ingress CA");
    await put([host, "*.default.apps.test"]);
    assert.is((await show("own")).status.fingerprint, first.status.fingerprint);
    await look();
    assert.is((await show("own")).status.names.length, 2);
    const ca = new X509Certificate(
      await (await controller.request("/v1/certificates/ca.pem")).text(),
    );
    assert.is(ca.ca, true);
    await put(["www.example.com"]);
    await look();
    assert.match((await show("own")).status.message, /host of no route/);
  });
});
