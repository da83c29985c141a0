import { generateKeyPairSync, X509Certificate } from "node:crypto";

import { hashSecret, readCredential } from "@strata/controller/access/secret";
import { ensureAuthority } from "@strata/controller/pki/authority";
import { issueNodeCertificate } from "@strata/controller/pki/node-certificate";
import {
  derivePeerKey,
  isPeerTicketGood,
  signPeerTicket,
} from "@strata/protocol/agent/peer-ticket";
import { PeerAnswer } from "@strata/protocol/agent/peers";
import { parseDigest } from "@strata/protocol/oci/digest";

import { aController, type TestController } from "../support/controller.ts";
import { aFakeAgent, type FakeAgent, prepare } from "../support/fake-agent.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const digest = parseDigest(`sha256:${"a".repeat(64)}`);

suite("peers: what the controller answers", (test) => {
  test("sends the first to the store, the next to it, with a ticket that it can check", async () => {
    await using scene = await twoNodes();
    const { controller, first, second } = scene;
    assert.equal(await find(controller, first), { kind: "store" });
    const answer = await find(controller, second);
    if (answer.kind !== "node") throw new Error(`answered ${answer.kind}`);
    assert.is(answer.nodeId, first.nodeId);
    assert.is(answer.port, 7075);
    const key = derivePeerKey(hashSecret(readCredential(first.credential)?.secret ?? ""));
    const claim = { nodeId: first.nodeId, repository: "app", digest };
    const nowMs = controller.services.clock.nowMs();
    const { ticket } = answer;
    assert.ok(isPeerTicketGood(key, claim, { ticket, nowMs }));
    assert.not.ok(isPeerTicketGood(key, claim, { ticket, nowMs: nowMs + 3_600_000 }));
  });

  test("offers no node that has fallen silent or was deleted", async () => {
    await using scene = await twoNodes();
    const { controller, first, second } = scene;
    await announce(controller, first, { have: [digest] });
    assert.is((await find(controller, second)).kind, "node");
    controller.advance(120_000);
    await second.work();
    assert.is((await find(controller, second)).kind, "store");
    await first.work();
    assert.is((await find(controller, second)).kind, "node");
    const removed = await controller.call("DELETE", `/v1/nodes/${first.name}`);
    assert.is(removed.status, 204);
    assert.is((await find(controller, second)).kind, "store");
  });

  test("says in every report's answer which life of the controller it is", async () => {
    await using scene = await twoNodes();
    const { body } = await scene.first.report([]);
    assert.is(body.controllerBootId, scene.controller.services.bootId);
  });

  test("lets a node speak for itself alone, and refuses what is no search", async () => {
    await using scene = await twoNodes();
    const { controller, first, second } = scene;
    const path = `/v1/nodes/${first.nodeId}/peers/find`;
    const search = { repository: "app", digest, failed: [] };
    for (const [token, body, status] of [
      [second.credential, search, 403],
      ["", search, 401],
      [first.credential, { ...search, repository: "../etc" }, 422],
      [first.credential, { ...search, digest: "sha256:short" }, 422],
    ] as const) {
      assert.is((await controller.call("POST", path, { token, body })).status, status);
    }
    const certificate = `/v1/nodes/${first.nodeId}/peers/certificate`;
    const refused = await controller.call("POST", certificate, {
      token: first.credential,
      body: { publicKeyPem: "no key" },
    });
    assert.is(refused.status, 422);
    assert.is(refused.body.code, "INVALID");
  });
});

suite("peers: tickets", (test) => {
  const key = derivePeerKey(hashSecret("secret"));
  const claim = { nodeId: "node-a", repository: "app", digest };

  test("are good for one blob of one repository at one node until they expire", () => {
    const ticket = signPeerTicket(key, claim, 1000);
    assert.ok(isPeerTicketGood(key, claim, { ticket, nowMs: 999 }));
    assert.not.ok(isPeerTicketGood(key, claim, { ticket, nowMs: 1000 }));
    const elsewhere = [
      { ...claim, nodeId: "node-b" },
      { ...claim, repository: "app/other" },
      { ...claim, digest: parseDigest(`sha256:${"b".repeat(64)}`) },
    ];
    for (const other of elsewhere)
      assert.not.ok(isPeerTicketGood(key, other, { ticket, nowMs: 999 }));
    const foreign = derivePeerKey(hashSecret("another secret"));
    assert.not.ok(isPeerTicketGood(foreign, claim, { ticket, nowMs: 999 }));
  });

  test("cannot be made to last longer or be made up", () => {
    const ticket = signPeerTicket(key, claim, 1000);
    const forged = ["", "1000.", `2000${ticket.slice(4)}`, `${ticket}A`, `1000.${"A".repeat(43)}`];
    for (const text of forged)
      assert.not.ok(isPeerTicketGood(key, claim, { ticket: text, nowMs: 0 }), text);
  });
});

suite("peers: certificates of nodes", (test) => {
  test("name the node and nothing else, and are signed by the CA", async () => {
    await using folder = aTemporaryDirectory();
    const nowMs = Date.parse("2026-01-01T00:00:00Z");
    const authority = await ensureAuthority(folder.path, nowMs);
    const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const publicKeyPem = publicKey.export({ type: "spki", format: "pem" });
    const issued = await issueNodeCertificate(authority, { nodeId: "node-a", publicKeyPem, nowMs });
    const certificate = new X509Certificate(issued?.certificatePem ?? "");
    assert.is(certificate.subjectAltName, "DNS:node-a");
    assert.ok(certificate.verify(new X509Certificate(authority.certificatePem).publicKey));
    assert.is(Date.parse(certificate.validTo), issued?.notAfterMs);
    assert.is(certificate.ca, false);
  });

  test("are not made for keys of another kind", async () => {
    await using folder = aTemporaryDirectory();
    const authority = await ensureAuthority(folder.path, 0);
    const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    for (const publicKeyPem of ["", publicKey.export({ type: "spki", format: "pem" })])
      assert.is(
        await issueNodeCertificate(authority, { nodeId: "node-a", publicKeyPem, nowMs: 0 }),
        undefined,
      );
  });
});

type Scene = AsyncDisposable & {
  readonly controller: TestController;
  readonly first: FakeAgent;
  readonly second: FakeAgent;
};

/** Both serve on 7075, and the minute after a start in which nobody is found silent is over. */
async function twoNodes(): Promise<Scene> {
  const controller = await aController();
  await prepare(controller);
  const first = await aFakeAgent(controller, { name: "node-a" });
  const second = await aFakeAgent(controller, { name: "node-b" });
  controller.advance(61_000);
  for (const agent of [first, second]) {
    await agent.work();
    await announce(controller, agent, {});
  }
  return {
    controller,
    first,
    second,
    [Symbol.asyncDispose]: () => controller[Symbol.asyncDispose](),
  };
}

async function announce(
  controller: TestController,
  { nodeId, credential }: FakeAgent,
  news: { readonly have?: readonly string[] },
): Promise<void> {
  const body = { bootId: "boot", port: 7075, complete: true, have: [], gone: [], ...news };
  const path = `/v1/nodes/${nodeId}/peers/announce`;
  assert.is((await controller.call("POST", path, { token: credential, body })).status, 204);
}

async function find(
  controller: TestController,
  { nodeId, credential }: FakeAgent,
): Promise<PeerAnswer> {
  const body = { repository: "app", digest, failed: [] };
  const path = `/v1/nodes/${nodeId}/peers/find`;
  const answer = await controller.call("POST", path, { token: credential, body });
  assert.is(answer.status, 200);
  return PeerAnswer.parse(answer.body);
}
