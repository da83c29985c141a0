/** Providers, policies that refer to them, decisions, and user data for machines that others make. */
import { parseJoinToken } from "@strata/protocol/agent/join-token";

import { aController, type Answer, type TestController } from "../../support/controller.ts";
import { aFakeAgent, prepare } from "../../support/fake-agent.ts";
import { assert, suite } from "../../support/suite.ts";

const small = { cpu: 2, memory: "1Gi", image: "debian-12" };
const secret = "correct-horse";
const settings = {
  kind: "exec",
  command: ["/opt/cloud", "--account", secret],
  env: { PASSWORD: secret },
  timeout: "30s",
};

async function put(controller: TestController, path: string, body: unknown): Promise<Answer> {
  return controller.call("PUT", path, { body });
}

async function withProvider(controller: TestController): Promise<void> {
  const answer = await put(controller, "/v1/providers/cloud", { settings, flavors: { small } });
  assert.is(answer.status, 201, JSON.stringify(answer.body));
}

suite("/v1/providers", (test) => {
  test("shows no credential and no path, in no answer and in no event", async () => {
    await using controller = await aController();
    await withProvider(controller);
    const changed = await put(controller, "/v1/providers/cloud", {
      settings: { ...settings, timeout: "40s" },
      flavors: { small },
    });
    assert.is(changed.body.revision, 2);
    assert.equal(changed.body.settings, {
      kind: "exec",
      command: "(set)",
      env: "(set)",
      timeout: "40s",
    });
    const answers = [
      changed,
      await controller.call("GET", "/v1/providers"),
      await controller.call("GET", "/v1/providers/cloud"),
      await controller.call("GET", "/v1/events"),
      await controller.call("POST", "/v1/apply?dryRun=true", {
        body: { kind: "Provider", name: "cloud", settings: { kind: "static" } },
      }),
    ];
    for (const { status, body } of answers) {
      assert.ok(status < 300, JSON.stringify(body));
      assert.not.ok(JSON.stringify(body).includes(secret));
      assert.not.ok(JSON.stringify(body).includes("/opt/cloud"));
    }
  });

  test("may be written by an admin alone, by PUT and by apply", async () => {
    await using controller = await aController();
    const { body } = await controller.call("POST", "/v1/tokens", {
      body: { name: "op", scope: "operator" },
    });
    const token = String(body.token);
    const provider = { settings, flavors: { small } };
    const direct = await controller.call("PUT", "/v1/providers/cloud", { token, body: provider });
    const applied = await controller.call("POST", "/v1/apply", {
      token,
      body: { kind: "Provider", name: "cloud", ...provider },
    });
    assert.equal([direct.body.code, applied.body.code], ["FORBIDDEN", "FORBIDDEN"]);
    assert.is((await controller.call("GET", "/v1/providers/cloud", { token })).status, 404);
  });

  test("names the wrong field of the settings", async () => {
    await using controller = await aController();
    const answer = await put(controller, "/v1/providers/cloud", {
      settings: { kind: "incus", endpoint: "http://x", network: "n" },
    });
    assert.is(answer.status, 422);
    assert.is(answer.body.errors[0].path, "settings.endpoint");
    const unknown = await put(controller, "/v1/providers/cloud", { settings: { kind: "gcp" } });
    assert.match(unknown.body.detail, /settings\.kind/);
  });

  test("stay while something needs them", async () => {
    await using controller = await aController();
    await withProvider(controller);
    const providers = [{ provider: "cloud", flavor: "small" }];
    await put(controller, "/v1/partition-policies/elastic", { providers });
    const gone = await controller.call("DELETE", "/v1/providers/cloud");
    assert.equal([gone.status, gone.body.code], [409, "IN_USE"]);
    assert.match(gone.body.detail, /partition policy elastic/);
    const smaller = await put(controller, "/v1/providers/cloud", { settings, flavors: {} });
    assert.match(smaller.body.detail, /flavor small of provider cloud is used/);
    await controller.call("DELETE", "/v1/partition-policies/elastic");
    assert.is((await controller.call("DELETE", "/v1/providers/cloud")).status, 204);
  });
});

suite("partition policies", (test) => {
  test("refer to providers and flavors that there are, and say how to have them", async () => {
    await using controller = await aController();
    await withProvider(controller);
    await put(controller, "/v1/providers/by-hand", { settings: { kind: "static" } });
    const codeOf = async (provider: string, flavor: string): Promise<Answer["body"]> =>
      (await put(controller, "/v1/partition-policies/p", { providers: [{ provider, flavor }] }))
        .body;
    const missing = await codeOf("nobody", "small");
    assert.equal(
      [missing.code, missing.hint],
      [
        "REFERENCE_UNKNOWN",
        "create it with PUT /v1/providers/nobody, or choose one of GET /v1/providers",
      ],
    );
    const flavor = await codeOf("cloud", "large");
    assert.is(flavor.code, "REFERENCE_UNKNOWN");
    assert.match(flavor.hint, /provider cloud has small/);
    assert.is((await codeOf("by-hand", "small")).code, "INVALID");
    assert.is((await codeOf("cloud", "small")).name, "p");
  });

  test("may come in one stream with what they refer to, in any order", async () => {
    await using controller = await aController();
    const { status, body } = await controller.call("POST", "/v1/apply", {
      body: [
        { kind: "Partition", name: "web", policy: "elastic" },
        {
          kind: "PartitionPolicy",
          name: "elastic",
          providers: [{ provider: "cloud", flavor: "small" }],
        },
        { kind: "Provider", name: "cloud", settings, flavors: { small } },
      ],
    });
    assert.is(status, 200, JSON.stringify(body));
    assert.equal(
      body.results.map(({ kind }: { kind: string }) => kind),
      ["Provider", "PartitionPolicy", "Partition"],
    );
  });
});

suite("join tokens", (test) => {
  test("give user data for cloud-init, with the very token, for as long as it lets somebody join", async () => {
    await using controller = await aController({
      environment: { STRATA_ADVERTISE: "strata.example:7443" },
    });
    await prepare(controller);
    const made = await controller.call("POST", "/v1/join-tokens", { body: { partition: "web" } });
    const { id, token } = made.body;
    const answer = await controller.call("GET", `/v1/join-tokens/${id}/cloud-init`);
    assert.is(answer.status, 200);
    assert.is(answer.headers.get("cache-control"), "no-store");
    assert.match(answer.body, /^#cloud-config\n/);
    assert.ok(answer.body.includes(token));
    assert.ok(answer.body.includes("strata.example"));
    assert.is(parseJoinToken(token).id, id);
    await aFakeAgent(controller, { joinToken: token });
    const used = await controller.call("GET", `/v1/join-tokens/${id}/cloud-init`);
    assert.equal([used.status, used.body.code], [404, "NOT_FOUND"]);
    const expiring = await controller.call("POST", "/v1/join-tokens", {
      body: { partition: "web", expiresIn: "1m" },
    });
    controller.advance(61_000);
    const late = await controller.call("GET", `/v1/join-tokens/${expiring.body.id}/cloud-init`);
    assert.is(late.body.code, "NOT_FOUND");
    assert.is((await controller.call("GET", "/v1/join-tokens/none/cloud-init")).status, 404);
  });
});
