/** Log-in by Basic and Bearer, as the distribution token specification has it. */
import { createHmac, randomBytes } from "node:crypto";

import { createLogin } from "@strata/registry/auth/login";
import { createPasswordChecker, hashPassword } from "@strata/registry/auth/password";
import { createUserAccounts, hashToken, parseUsers, type Users } from "@strata/registry/auth/users";

import { anImage, type BuiltImage } from "../support/images.ts";
import {
  type Answer,
  type Client,
  createClient,
  digestOf,
  errorCodes,
  randomBlob,
} from "../support/registry-client.ts";
import { aRegistryServer, type RegistryServer } from "../support/registry-server.ts";
import { assert, suite } from "../support/suite.ts";

const key = Buffer.alloc(32, 7);
const token = `strata_${"t".repeat(43)}`;
const readOnlyToken = `strata_${"r".repeat(43)}`;

async function someUsers(): Promise<Users> {
  const team = { repositories: ["team/*"], actions: ["pull", "push", "delete"] };
  const alice = {
    password: await hashPassword("secret", randomBytes(16)),
    rights: [team],
    tokens: [
      { id: "a", sha256: hashToken(token) },
      { id: "b", sha256: hashToken(readOnlyToken), actions: ["pull"] },
      { id: "c", sha256: hashToken("old"), expires: "1999-01-01T00:00:00Z" },
    ],
  };
  const bob = {
    password: await hashPassword("hunter2", randomBytes(16)),
    rights: [{ repositories: ["team/app"], actions: ["pull"] }],
  };
  return parseUsers(JSON.stringify({ users: { alice, bob }, anonymous: ["public/*"] }));
}

type Scene = AsyncDisposable & {
  readonly server: RegistryServer;
  readonly client: Client;
  readonly at: { nowMs: number; users: Users };
};

async function aScene(): Promise<Scene> {
  const at = { nowMs: Date.parse("2026-01-01T00:00:00Z"), users: await someUsers() };
  const clock = (): number => at.nowMs;
  const passwords = createPasswordChecker({ clock, key });
  const login = createLogin({
    accounts: createUserAccounts({ users: () => at.users, passwords, clock }),
    key,
    service: "store.test",
    findRealm: (origin) => `${origin}/v2/token`,
    clock,
    logger: { warn: () => undefined, error: () => undefined },
  });
  const server = await aRegistryServer({ ...login, clock });
  return {
    server,
    client: createClient(server.url),
    at,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

function basic(name: string, password: string): { readonly authorization: string } {
  const text = Buffer.from(`${name}:${password}`).toString("base64");
  return { authorization: `Basic ${text}` };
}

function bearer(text: string): { readonly authorization: string } {
  return { authorization: `Bearer ${text}` };
}

/** Logs in and gives the access token's header. */
async function logIn(
  { client }: Scene,
  headers: Readonly<Record<string, string>>,
  ...scopes: readonly string[]
): Promise<{ readonly authorization: string }> {
  const query = new URLSearchParams(scopes.map((scope) => ["scope", scope]));
  const answer = await client.send("GET", `/v2/token?${query.toString()}`, { headers });
  assert.is(answer.status, 200, answer.body.toString());
  return bearer(readToken(answer));
}

function readToken({ body }: Answer): string {
  return /"token":"([^"]+)"/.exec(body.toString())?.[1] ?? "";
}

async function push(
  { client }: Scene,
  { name, image }: { readonly name: string; readonly image: BuiltImage },
  headers: Readonly<Record<string, string>>,
): Promise<number> {
  for (const blob of image.blobs) {
    const path = `/v2/${name}/blobs/uploads/?digest=${digestOf(blob)}`;
    const { status } = await client.send("POST", path, { headers, body: blob });
    if (status !== 201) return status;
  }
  const { status } = await client.send("PUT", `/v2/${name}/manifests/1`, {
    headers: { ...headers, "content-type": image.manifest.mediaType },
    body: image.manifest.bytes,
  });
  return status;
}

async function pull(
  { client }: Scene,
  name: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  return client.send("GET", `/v2/${name}/manifests/1`, { headers });
}

function challengeOf({ headers }: Answer): string {
  return headers["www-authenticate"] ?? "";
}

suite("log-in", (test) => {
  test("a challenge names the endpoint, the service and the scope, never from a header", async () => {
    await using scene = await aScene();
    const { server, client } = scene;
    const realm = `realm="${server.url}/v2/token",service="store.test"`;
    const cases = [
      ["GET", "/v2/", realm],
      ["GET", "/v2/team/app/manifests/1", `${realm},scope="repository:team/app:pull"`],
      ["POST", "/v2/team/app/blobs/uploads/", `${realm},scope="repository:team/app:pull,push"`],
      ["DELETE", "/v2/team/app/manifests/1", `${realm},scope="repository:team/app:delete"`],
      ["GET", "/v2/_catalog", `${realm},scope="registry:catalog:*"`],
    ] as const;
    for (const [method, path, expected] of cases) {
      const headers = { host: "evil.example", "x-forwarded-host": "evil.example" };
      const answer = await client.send(method, path, { headers });
      assert.equal([answer.status, challengeOf(answer)], [401, `Bearer ${expected}`], path);
    }
  });

  test("password and token log in by Basic and by Bearer, and push and pull", async () => {
    await using scene = await aScene();
    const scope = "repository:team/app:pull,push";
    const ways = [
      basic("alice", "secret"),
      basic("anything", token),
      bearer(token),
      await logIn(scene, basic("alice", "secret"), scope),
      await logIn(scene, basic("anything", token), scope),
      await logIn(scene, bearer(token), scope),
    ];
    for (const headers of ways) {
      assert.is(await push(scene, { name: "team/app", image: anImage() }, headers), 201);
      assert.is((await pull(scene, "team/app", headers)).status, 200);
    }
  });

  test("wrong passwords, unknown users and expired tokens are refused alike", async () => {
    await using scene = await aScene();
    for (const headers of [
      basic("alice", "wrong"),
      basic("alice", ""),
      basic("nobody", "secret"),
      basic("bob", "secret"),
      basic("alice", "old"),
      { authorization: "Basic ???" },
      { authorization: "Digest x" },
      bearer("a.b.c"),
    ]) {
      const answer = await scene.client.send("GET", "/v2/token?scope=repository:team/app:pull", {
        headers,
      });
      assert.equal([answer.status, ...errorCodes(answer)], [401, "UNAUTHORIZED"]);
      assert.match(challengeOf(answer), /^Basic /);
      // Nor does it fall back to what anybody may do.
      assert.is((await pull(scene, "public/app", headers)).status, 401);
    }
  });

  test("who may only pull cannot push, whatever scope he asks for", async () => {
    await using scene = await aScene();
    const image = anImage();
    await push(scene, { name: "team/app", image }, basic("alice", "secret"));
    const scope = "repository:team/app:pull,push,delete";
    for (const login of [basic("bob", "hunter2"), basic("x", readOnlyToken)]) {
      const granted = await logIn(scene, login, scope);
      for (const headers of [login, granted]) {
        assert.is((await pull(scene, "team/app", headers)).status, 200);
        const status = await push(scene, { name: "team/app", image: anImage() }, headers);
        assert.ok(status === 401 || status === 403, `push: ${status}`);
        const path = "/v2/team/app/manifests/1";
        const deleted = await scene.client.send("DELETE", path, { headers });
        assert.ok(deleted.status === 401 || deleted.status === 403);
      }
    }
    assert.is((await pull(scene, "team/app", basic("bob", "hunter2"))).status, 200);
  });

  test("a token for one repository or action says nothing about another", async () => {
    await using scene = await aScene();
    const alice = basic("alice", "secret");
    for (const name of ["team/app", "team/app/sub", "team/other"]) {
      assert.is(await push(scene, { name, image: anImage() }, alice), 201);
    }
    const headers = await logIn(scene, alice, "repository:team/app:pull");
    assert.is((await pull(scene, "team/app", headers)).status, 200);
    for (const name of ["team/app/sub", "team/other"]) {
      const answer = await pull(scene, name, headers);
      assert.is(answer.status, 401);
      assert.match(challengeOf(answer), /error="insufficient_scope"$/);
    }
    assert.is(await push(scene, { name: "team/app", image: anImage() }, headers), 401);
    const { status } = await pull(
      scene,
      "secret",
      await logIn(scene, alice, "repository:secret:*"),
    );
    assert.is(status, 403);
  });

  test("anybody pulls what is public, with an anonymous token or none, and nothing else", async () => {
    await using scene = await aScene();
    const { at, client } = scene;
    at.users = parseUsers(JSON.stringify(at.users).replace('["team/*"]', '["team/*","public/*"]'));
    const alice = basic("alice", "secret");
    for (const name of ["public/app", "team/app"]) {
      assert.is(await push(scene, { name, image: anImage() }, alice), 201);
    }
    const anonymous = await logIn(scene, {}, "repository:public/app:pull,push");
    for (const headers of [{}, anonymous]) {
      assert.is((await pull(scene, "public/app", headers)).status, 200);
      assert.is((await pull(scene, "team/app", headers)).status, 401);
      assert.is(await push(scene, { name: "public/app", image: anImage() }, headers), 401);
    }
    // Clients learn at /v2/ how to log in.
    assert.is((await client.send("GET", "/v2/")).status, 401);
    assert.is((await client.send("GET", "/v2/", { headers: anonymous })).status, 200);
  });

  test("the catalog shows what the caller may pull", async () => {
    await using scene = await aScene();
    const alice = basic("alice", "secret");
    for (const name of ["team/app", "team/other"]) {
      await push(scene, { name, image: anImage() }, alice);
    }
    const bob = basic("bob", "hunter2");
    for (const [headers, expected] of [
      [await logIn(scene, alice, "registry:catalog:*"), ["team/app", "team/other"]],
      [bob, ["team/app"]],
      [await logIn(scene, bob, "registry:catalog:*"), ["team/app"]],
    ] as const) {
      const { body } = await scene.client.send("GET", "/v2/_catalog", { headers });
      assert.equal(JSON.parse(body.toString()), { repositories: expected });
    }
  });

  test("a token ends with its time, its user, or his right", async () => {
    await using scene = await aScene();
    const { at } = scene;
    const alice = basic("alice", "secret");
    await push(scene, { name: "team/app", image: anImage() }, alice);
    const headers = await logIn(scene, alice, "repository:team/app:pull");
    assert.is((await pull(scene, "team/app", headers)).status, 200);
    const before = at.users;
    const { alice: user, ...others } = before.users;
    assert.ok(user !== undefined);
    at.users = { ...before, users: { ...others, alice: { ...user, rights: [] } } };
    assert.is((await pull(scene, "team/app", headers)).status, 403);
    at.users = { ...before, users: others };
    assert.is((await pull(scene, "team/app", headers)).status, 401);
    at.users = before;
    at.nowMs += 299_000;
    assert.is((await pull(scene, "team/app", headers)).status, 200);
    at.nowMs += 2_000;
    const late = await pull(scene, "team/app", headers);
    assert.is(late.status, 401);
    assert.match(challengeOf(late), /error="invalid_token"$/);
  });

  test("forged tokens are refused: other key, no algorithm, other registry, other claims", async () => {
    await using scene = await aScene();
    const seconds = scene.at.nowMs / 1_000;
    const claims = {
      iss: "store.test",
      aud: "store.test",
      sub: "alice",
      iat: seconds,
      exp: seconds + 300,
      access: [{ type: "repository", name: "team/app", actions: ["pull"] }],
    };
    await push(scene, { name: "team/app", image: anImage() }, basic("alice", "secret"));
    const status = async (text: string): Promise<number> =>
      (await pull(scene, "team/app", bearer(text))).status;
    assert.is(await status(sign(claims, { alg: "HS256" }, key)), 200);
    assert.is(await status(sign(claims, { alg: "HS256" }, Buffer.alloc(32, 8))), 401);
    assert.is(await status(sign(claims, { alg: "HS512" }, key)), 401);
    assert.is(await status(sign(claims, { alg: "none" }, undefined)), 401);
    assert.is(await status(sign({ ...claims, aud: "other" }, { alg: "HS256" }, key)), 401);
    assert.is(await status(sign({ ...claims, iss: "other" }, { alg: "HS256" }, key)), 401);
    assert.is(await status(sign({ ...claims, exp: undefined }, { alg: "HS256" }, key)), 401);
    assert.is(await status(sign({ ...claims, access: "all" }, { alg: "HS256" }, key)), 401);
    assert.is(await status(sign({ ...claims, sub: "nobody" }, { alg: "HS256" }, key)), 401);
    assert.is(await status("x".repeat(14_000)), 401);
  });

  test("the form of OAuth 2 works too, within its limits", async () => {
    await using scene = await aScene();
    const { client } = scene;
    await push(scene, { name: "team/app", image: anImage() }, basic("alice", "secret"));
    const post = (fields: Readonly<Record<string, string>>): Promise<Answer> =>
      client.send("POST", "/v2/token", {
        headers: { "content-type": "application/x-www-form-urlencoded" },
        body: new URLSearchParams(fields).toString(),
      });
    const form = {
      grant_type: "password",
      username: "bob",
      password: "hunter2",
      scope: "repository:team/app:pull repository:team/b:pull",
    };
    const answer = await post(form);
    assert.is((await pull(scene, "team/app", bearer(readToken(answer)))).status, 200);
    assert.is((await post({ ...form, password: "wrong" })).status, 401);
    assert.is((await post({ ...form, grant_type: "refresh_token" })).status, 400);
    assert.is((await post({ ...form, scope: "x".repeat(40_000) })).status, 400);
    assert.is((await post({ ...form, scope: "a ".repeat(100) })).status, 403);
  });

  test("an upload goes on under a token that was renewed, and not under another user", async () => {
    await using scene = await aScene();
    const { client, at } = scene;
    const alice = basic("alice", "secret");
    const scope = "repository:team/app:pull,push";
    const first = await logIn(scene, alice, scope);
    const started = await client.send("POST", "/v2/team/app/blobs/uploads/", { headers: first });
    const location = started.headers["location"] ?? "";
    at.nowMs += 400_000;
    assert.is((await client.send("GET", location, { headers: first })).status, 401);
    const second = await logIn(scene, alice, scope);
    const blob = randomBlob();
    const path = `${location}?digest=${digestOf(blob)}`;
    assert.is((await client.send("PUT", path, { headers: second, body: blob })).status, 201);
  });
});

function sign(claims: object, header: object, secret: Buffer | undefined): string {
  const encode = (value: object): string =>
    Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${encode({ typ: "JWT", ...header })}.${encode(claims)}`;
  const algorithm = "alg" in header && header.alg === "HS512" ? "sha512" : "sha256";
  const signature =
    secret === undefined ? "" : createHmac(algorithm, secret).update(text).digest("base64url");
  return `${text}.${signature}`;
}
