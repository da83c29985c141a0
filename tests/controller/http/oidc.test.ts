import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { isTrustedUrl } from "@strata/controller/access/oidc-keys";
import { grantOf, type OidcRule } from "@strata/controller/access/oidc-rules";
import { readConfig } from "@strata/controller/config";
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from "jose";

import { aController, type Answer, type TestController } from "../../support/controller.ts";
import { anOidcIssuer, type OidcIssuer } from "../../support/oidc-issuer.ts";
import { assert, suite, throwsWithCode } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

const START_MS = Date.parse("2026-01-01T00:00:00Z");
const RULES = `
- when: { groups: platform }
  scope: admin
  tenant: default
- when: { groups: developers, email_verified: "yes" }
  scope: deployer
  tenantClaim: team
`;

type Scene = AsyncDisposable & {
  readonly controller: TestController;
  readonly issuer: OidcIssuer;
  readonly ask: (jwt: string, path?: string) => Promise<Answer>;
  /** Of a developer of `acme`. */
  readonly sign: (claims?: Readonly<Record<string, unknown>>) => Promise<string>;
};

async function aScene(): Promise<Scene> {
  const clock = { nowMs: (): number => START_MS };
  const issuer = await anOidcIssuer(() => clock.nowMs());
  const folder = aTemporaryDirectory();
  const rules = join(folder.path, "rules.yaml");
  writeFileSync(rules, RULES);
  const controller = await aController({
    environment: { STRATA_OIDC_ISSUER: issuer.url, STRATA_OIDC_RULES: rules },
  });
  clock.nowMs = controller.services.clock.nowMs;
  await controller.call("PUT", "/v1/tenants/acme", { body: {} });
  return {
    controller,
    issuer,
    ask: (token, path = "/v1/secrets") => controller.call("GET", path, { token }),
    sign: (claims = {}) =>
      issuer.sign({ groups: ["developers"], email_verified: "yes", team: "acme", ...claims }),
    [Symbol.asyncDispose]: async () => {
      await controller[Symbol.asyncDispose]();
      await issuer[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

suite("tokens of an OIDC issuer", (test) => {
  test("have the scope and tenant of the first rule that fits their claims", async () => {
    await using scene = await aScene();
    const { controller, ask, sign } = scene;
    const developer = await sign();
    assert.is((await ask(developer)).status, 200);
    assert.is((await ask(developer, "/v1/secrets?tenant=default")).status, 403);
    assert.is((await ask(developer, "/v1/tokens")).status, 403);
    assert.is((await ask(await sign({ groups: ["platform"] }), "/v1/tokens")).status, 200);
    await controller.call("PUT", "/v1/secrets/db", { token: developer, body: { text: "x" } });
    const { items } = (await controller.call("GET", "/v1/audit?path=/v1/secrets")).body;
    assert.equal(
      [items[0].principal, items[0].tenant, items[0].scope],
      [`${scene.issuer.url}#somebody`, "acme", "deployer"],
    );
    for (const claims of [{ groups: [] }, { email_verified: "no" }, { team: "none" }, { team: 7 }])
      assert.is((await ask(await sign(claims))).status, 403, JSON.stringify(claims));
  });

  test("of another audience, issuer or time are refused with the reason", async () => {
    await using scene = await aScene();
    const now = scene.controller.services.clock.nowMs() / 1000;
    for (const [claims, reason] of [
      [{ aud: "others" }, /ERR_JWT_CLAIM_VALIDATION_FAILED/],
      [{ iss: "https://evil.example" }, /ERR_JWT_INVALID/],
      [{ exp: now - 61 }, /ERR_JWT_EXPIRED/],
      [{ nbf: now + 61 }, /ERR_JWT_CLAIM_VALIDATION_FAILED/],
      [{ sub: undefined }, /ERR_JWT_CLAIM_VALIDATION_FAILED/],
      [{ exp: undefined }, /ERR_JWT_CLAIM_VALIDATION_FAILED/],
    ] as const) {
      const { status, body } = await scene.ask(await scene.sign(claims));
      assert.equal([status, body.code], [401, "UNAUTHENTICATED"], JSON.stringify(claims));
      assert.match(body.detail, reason);
    }
    for (const claims of [{ exp: now - 30 }, { nbf: now + 30 }])
      assert.is((await scene.ask(await scene.sign(claims))).status, 200, "clocks differ");
  });

  test("signed by nobody, by a public key as a secret, or by another key are refused", async () => {
    await using scene = await aScene();
    const now = Math.floor(scene.controller.services.clock.nowMs() / 1000);
    const claims = {
      iss: scene.issuer.url,
      aud: "strata",
      sub: "x",
      exp: now + 60,
      groups: ["platform"],
    };
    const other = await generateKeyPair("ES256");
    const publicKey = new TextEncoder().encode(JSON.stringify(await exportJWK(other.publicKey)));
    const forged = [
      new UnsecuredJWT(claims).encode(),
      await new SignJWT(claims).setProtectedHeader({ alg: "HS256", kid: "key-1" }).sign(publicKey),
      await new SignJWT(claims)
        .setProtectedHeader({ alg: "ES256", kid: "key-1" })
        .sign(other.privateKey),
    ];
    const honest = await scene.issuer.sign(claims);
    forged.push(`${honest.slice(0, -6)}AAAAAA`, `${honest.split(".").slice(0, 2).join(".")}.`);
    for (const jwt of forged) assert.is((await scene.ask(jwt)).status, 401, jwt.slice(0, 40));
    assert.is((await scene.ask(honest)).status, 200);
  });

  test("are checked with keys that are fetched once, and again for an unknown one, once a minute", async () => {
    await using scene = await aScene();
    const { controller, issuer, ask, sign } = scene;
    const old = await sign();
    await Promise.all([ask(old), ask(old), ask(old)]);
    assert.is(issuer.fetches(), 1);
    await issuer.rotate();
    const fresh = await sign();
    assert.is((await ask(fresh)).status, 401, "the last fetch was less than a minute ago");
    assert.is(issuer.fetches(), 1);
    controller.advance(60_000);
    assert.is((await ask(fresh)).status, 200);
    assert.is((await ask(old)).status, 401, "the issuer withdrew the key");
    assert.is(issuer.fetches(), 2);
  });

  test("go on while the issuer is away and its keys are known; our own tokens go on in any case", async () => {
    await using scene = await aScene();
    const { controller, issuer, ask, sign } = scene;
    issuer.setDown(true);
    const refused = await ask(await sign());
    assert.equal([refused.status, refused.body.code], [503, "ISSUER_UNREACHABLE"]);
    assert.ok(refused.headers.has("retry-after"));
    assert.is((await controller.call("GET", "/v1/nodes")).status, 200);
    issuer.setDown(false);
    controller.advance(60_000);
    assert.is((await ask(await sign())).status, 200);
    issuer.setDown(true);
    controller.advance(2 * 3_600_000);
    assert.is((await ask(await sign())).status, 200, "with the keys of two hours ago");
    controller.advance(24 * 3_600_000);
    assert.is((await ask(await sign())).status, 503, "which are not good for ever");
  });

  test("are nothing where no issuer is set", async () => {
    await using scene = await aScene();
    await using controller = await aController();
    const answer = await controller.call("GET", "/v1/secrets", { token: await scene.sign() });
    assert.is(answer.status, 401);
  });
});

suite("settings of OIDC", (test) => {
  test("want an issuer that nobody can stand in for, and rules that say a tenant", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "rules.yaml");
    const read = (rules: string, issuer = "https://login.example"): unknown => {
      writeFileSync(path, rules);
      return readConfig({ STRATA_OIDC_ISSUER: issuer, STRATA_OIDC_RULES: path }).oidc;
    };
    assert.ok(read(RULES));
    for (const rules of [
      "[]",
      "- scope: viewer",
      "- { scope: agent, tenant: default }",
      "- { scope: viewer, tenant: a, tenantClaim: b }",
      "- { scope: viewer, tenant: a, extra: b }",
      ": nonsense",
    ])
      throwsWithCode(() => read(rules), "SETTING_INVALID");
    throwsWithCode(() => read(RULES, "http://login.example"), "SETTING_INVALID");
    throwsWithCode(() => readConfig({ STRATA_OIDC_ISSUER: "https://a.b" }), "SETTING_INVALID");
    for (const [url, isTrusted] of [
      ["http://127.0.0.1:80/x", true],
      ["http://[::1]/", true],
      ["http://127.0.0.1.evil.example/", false],
      ["https://user:pass@x/", false],
      ["ftp://x/", false],
    ] as const)
      assert.is(isTrustedUrl(url), isTrusted, url);
  });

  test("read claims of the token alone, not what every object has", () => {
    const rules: readonly OidcRule[] = [{ when: {}, scope: "viewer", tenantClaim: "constructor" }];
    assert.is(grantOf(rules, {}), undefined);
    assert.equal(grantOf(rules, { constructor: "acme" }), { scope: "viewer", tenant: "acme" });
  });
});
