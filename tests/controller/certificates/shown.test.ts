import { X509Certificate } from "node:crypto";
import { createSecureContext } from "node:tls";

import { ensureIngressAuthority } from "@strata/controller/pki/authority";
import { issueHostCertificate } from "@strata/controller/pki/host-certificate";
import { deleteRoute, saveRoute } from "@strata/controller/store/routes";
import type { Ingress } from "@strata/protocol/agent/network";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { aNetworkScene } from "../network/a-network.ts";

type Scene = Awaited<ReturnType<typeof aNetworkScene>>;

/** What the ingress is told after the loop of certificates has nothing more to do. */
async function shown(scene: Scene): Promise<Ingress["certificates"]> {
  while (await scene.controller.ticks.certificates.tick());
  return (await scene.ask())?.ingress?.certificates ?? [];
}

/** Which certificate answers for the host: its issuer and its names. */
function answerFor(certificates: Ingress["certificates"], host: string): string {
  const of = certificates.filter(({ hosts }) => hosts.includes(host));
  assert.is(of.length, 1, `${host} is of one certificate`);
  const pem = of[0]?.pem ?? "";
  createSecureContext({ cert: pem, key: pem });
  const { issuer, subjectAltName } = new X509Certificate(pem);
  return `${issuer}: ${subjectAltName}`;
}

function route({ controller }: Scene, hosts: string[], certificate?: string): void {
  const tenant = "default";
  const now = new Date(controller.services.clock.nowMs()).toISOString();
  const times = { revision: 1, createdAt: now, updatedAt: now };
  const spec = { hosts, backends: [{ subscription: "hi" }], ...(certificate && { certificate }) };
  controller.services.store.write(({ sql }) =>
    saveRoute(sql, { tenant, name: "r", spec, ...times }),
  );
}

/** By another CA. `path` is the certificate's name, with its tenant where that is not `default`. */
async function give({ controller }: Scene, path: string, hosts: string[]): Promise<void> {
  await using folder = aTemporaryDirectory();
  const nowMs = controller.services.clock.nowMs();
  const authority = { ...(await ensureIngressAuthority(folder.path, nowMs)), subject: "CN=Other" };
  const { chain, key } = await issueHostCertificate(authority, { hosts, nowMs });
  const { status } = await controller.call("PUT", `/v1/certificates/${path}`, {
    body: { source: "given", chain, key },
  });
  assert.is(status, 201);
}

const ours = (host: string): string => `CN=Strata ingress CA: DNS:${host}`;

suite("what an ingress is told of certificates", (test) => {
  test("one of our CA for the domain first, then for the names of each tenant and each host of a route", async () => {
    await using scene = await aNetworkScene();
    assert.equal(await shown(scene).then((all) => all.map(({ hosts }) => hosts)), [
      ["localhost"],
      ["*.default.localhost"],
    ]);
    route(scene, ["www.example.com", "*.example.org"]);
    const all = await shown(scene);
    assert.equal(all[0]?.hosts, ["localhost"]);
    assert.is(answerFor(all, "*.default.localhost"), ours("*.default.localhost"));
    assert.is(answerFor(all, "www.example.com"), ours("www.example.com"));
    assert.is(answerFor(all, "*.example.org"), ours("*.example.org"));
    assert.equal(await shown(scene), all, "and they stay");
    scene.controller.services.store.write(({ sql }) =>
      deleteRoute(sql, { tenant: "default", name: "r" }),
    );
    assert.is((await shown(scene)).length, 2);
  });

  test("the tenant's own where there is one, for its own hosts alone", async () => {
    await using scene = await aNetworkScene();
    await scene.controller.call("PUT", "/v1/tenants/other", { body: {} });
    route(scene, ["www.example.com", "shop.example.com"], "second");
    await give(scene, "first", ["*.example.com"]);
    await give(scene, "second", ["www.example.com", "elsewhere.example.net"]);
    await give(scene, "thief?tenant=other", ["www.example.com", "hi.default.localhost"]);
    const all = await shown(scene);
    assert.is(
      answerFor(all, "www.example.com"),
      "CN=Other: DNS:www.example.com, DNS:elsewhere.example.net",
    );
    assert.is(answerFor(all, "shop.example.com"), "CN=Other: DNS:*.example.com");
    assert.is(answerFor(all, "*.default.localhost"), ours("*.default.localhost"));
    assert.not.ok(all.some(({ hosts }) => hosts.includes("hi.default.localhost")));
    assert.not.ok(all.some(({ hosts }) => hosts.includes("elsewhere.example.net")));
    await give(scene, "third", ["hi.default.localhost"]);
    assert.is(
      answerFor(await shown(scene), "hi.default.localhost"),
      "CN=Other: DNS:hi.default.localhost",
    );
  });

  test("a new one of our CA at two thirds of its life, and when a given one has ended", async () => {
    await using scene = await aNetworkScene();
    route(scene, ["www.example.com"]);
    await give(scene, "own", ["www.example.com"]);
    const first = await shown(scene);
    scene.controller.advance(61 * 86_400_000);
    const second = await shown(scene);
    assert.is.not(second[0]?.pem, first[0]?.pem);
    assert.is(answerFor(second, "www.example.com"), "CN=Other: DNS:www.example.com");
    scene.controller.advance(30 * 86_400_000);
    assert.is(answerFor(await shown(scene), "www.example.com"), ours("www.example.com"));
  });
});
