/** What rules of a mirror allow: where it fetches from, as whom, and what it copies by itself. */
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";

import { readChallenge } from "@strata/registry/mirror/challenge";
import { readConfig } from "@strata/registry/serve/config";

import { aDockerRegistry } from "../support/docker-registry.ts";
import { anImage, anIndex, describeManifest } from "../support/images.ts";
import { missingPrograms } from "../support/installed.ts";
import { aMirrorScene, aRule, blobRequests, expectImage, pushTo } from "../support/mirror-scene.ts";
import { createClient, digestOf, errorCodes, randomBlob } from "../support/registry-client.ts";
import { aRegistryServer } from "../support/registry-server.ts";
import { aStandAloneStore, runStore } from "../support/stand-alone-store.ts";
import { assert, suite, throwsWithCode } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const slow = { timeoutMs: 120_000 };

suite("rules of a mirror", (test) => {
  if (missingPrograms(["docker-registry"]).length > 0) {
    test.skip("rules", "needs docker-registry");
    return;
  }

  test(
    "offline it serves what it has, and asks nobody",
    async () => {
      await using scene = await aMirrorScene({ rule: { offline: true } });
      const { client, source, relay } = scene;
      const image = anImage();
      await pushTo(source, ["app", "v1"], image);
      const digest = digestOf(image.blobs[0] ?? Buffer.alloc(0));
      for (const path of [`manifests/v1`, `blobs/${digest}`, "tags/list"]) {
        assert.is((await client.send("GET", `/v2/hub/app/${path}`)).status, 404);
      }
      assert.is((await client.send("HEAD", `/v2/hub/app/blobs/${digest}`)).status, 404);
      assert.equal(relay.requests, []);
    },
    slow,
  );

  test(
    "fetches only what its rule names, and takes no pushes",
    async () => {
      await using scene = await aMirrorScene({ rule: { repositories: ["team/*"] } });
      const { client, source, relay } = scene;
      const image = anImage();
      await pushTo(source, ["team/app", "v1"], image);
      await pushTo(source, ["other", "v1"], image);
      assert.is((await client.send("GET", "/v2/hub/other/manifests/v1")).status, 404);
      assert.is((await client.send("GET", "/v2/team/app/manifests/v1")).status, 404);
      assert.equal(relay.requests, []);
      await expectImage(client, "hub/team/app", image);
      const push = await client.send("POST", "/v2/hub/team/app/blobs/uploads/");
      assert.equal([push.status, ...errorCodes(push)], [403, "DENIED"]);
      const put = await client.putManifest("/v2/hub/team/app/manifests/v2", image.manifest);
      assert.equal([put.status, ...errorCodes(put)], [403, "DENIED"]);
      await pushTo(client, ["own/app", "v1"], image);
      const path = `/v2/hub/team/app/manifests/${image.manifest.digest}`;
      assert.is((await client.send("DELETE", path)).status, 202);
      await expectImage(client, "hub/team/app", image);
    },
    slow,
  );

  test(
    "a blob that another repository has is not carried again",
    async () => {
      await using scene = await aMirrorScene();
      const { client, source } = scene;
      const shared = randomBlob(1_000_000);
      for (const name of ["one", "two"]) {
        await pushTo(source, [name, "v1"], anImage({ layers: [shared] }));
      }
      for (const name of ["one", "two"]) {
        const { body } = await client.send("GET", `/v2/hub/${name}/blobs/${digestOf(shared)}`);
        assert.ok(body.equals(shared));
      }
      assert.is(blobRequests(scene, shared).length, 1);
      const { status } = await client.send("GET", `/v2/hub/three/blobs/${digestOf(shared)}`);
      assert.is(status, 404, "the upstream says that this repository has it not");
    },
    slow,
  );

  test(
    "logs in where the upstream asks for Basic, and says when it is refused",
    async () => {
      await using folder = aTemporaryDirectory();
      const user = { name: "mirror", password: "secret" };
      await using upstream = await aDockerRegistry({ folder: folder.path, user });
      const image = anImage();
      const basic = Buffer.from(`${user.name}:${user.password}`).toString("base64");
      await pushTo(createClient(upstream.url, `Basic ${basic}`), ["app", "v1"], image);
      const store = (credentials: typeof user | undefined): ReturnType<typeof aRegistryServer> =>
        aRegistryServer({ mirrors: [aRule({ upstream: upstream.url, credentials })] });
      await using server = await store(user);
      await expectImage(createClient(server.url), "hub/app", image);
      for (const credentials of [undefined, { ...user, password: "wrong" }]) {
        await using other = await store(credentials);
        const answer = await createClient(other.url).send("GET", "/v2/hub/app/manifests/v1");
        assert.equal([answer.status, ...errorCodes(answer)], [502, "UPSTREAM_FAULTY"]);
        assert.not.match(answer.body.toString(), /wrong|secret/);
      }
    },
    slow,
  );

  test(
    "logs in where the upstream gives access tokens, and copies what it may see with its referrers",
    async () => {
      await using folder = aTemporaryDirectory();
      const users = ["--users", `${folder.path}/users.json`];
      const set = ["user", "set", ...users, "--password-file", "-"];
      await runStore([...set, "owner", "--push", "*"], "secret");
      await runStore([...set, "mirror", "--pull", "team/*"], "secret");
      await using upstream = await aStandAloneStore(`${folder.path}/upstream`, users);
      const owner = createClient(
        upstream.url,
        `Basic ${Buffer.from("owner:secret").toString("base64")}`,
      );
      const [first, second, hidden] = [anImage(), anImage(), anImage()];
      await pushTo(owner, ["team/app", "v1"], first);
      await pushTo(owner, ["team/app", "v2", "latest"], second);
      await pushTo(owner, ["other/app", "v1"], hidden);
      const { digest } = first.manifest;
      const subject = describeManifest(first.manifest);
      const signature = anImage({
        layers: [],
        fields: { subject, artifactType: "test/signature" },
      });
      await pushTo(owner, ["team/app"], signature);
      const credentials = { name: "mirror", password: "secret" };
      const rule = aRule({ upstream: upstream.url, credentials });
      await using server = await aRegistryServer({ mirrors: [rule] });
      const sync = (tags: readonly string[]): ReturnType<typeof server.registry.sync> =>
        server.registry.sync(
          rule,
          { repositories: ["*/app"], tags, everyMs: 60_000, referrers: true },
          new AbortController().signal,
        );
      const counts = await sync(["v1", "late*"]);
      assert.equal(counts, {
        repositories: 1,
        tags: 2,
        manifests: 3,
        blobs: 7,
        failed: [],
        aborted: false,
      });
      const again = await sync(["v1", "late*"]);
      assert.equal([again.tags, again.manifests, again.blobs], [2, 0, 0]);
      await upstream.stop();
      const client = createClient(server.url);
      await expectImage(client, "hub/team/app", first);
      const referrers = await client.send("GET", `/v2/hub/team/app/referrers/${digest}`);
      assert.match(referrers.body.toString(), signature.manifest.digest);
      assert.is((await client.send("GET", "/v2/hub/team/app/manifests/latest")).status, 200);
      assert.is((await client.send("GET", "/v2/hub/team/app/manifests/v2")).status, 503);
      assert.is((await sync(["*"])).failed.length, 1);
    },
    slow,
  );

  test(
    "copies an index with all its images, and names what did not come",
    async () => {
      await using scene = await aMirrorScene();
      const { client, source, server, relay } = scene;
      const images = [anImage(), anImage()];
      for (const image of images) await pushTo(source, ["app"], image);
      const index = anIndex(images.map(({ manifest }) => describeManifest(manifest)));
      await source.putManifest("/v2/app/manifests/v1", index);
      const wanted = {
        repositories: ["app", "absent"],
        tags: ["*"],
        everyMs: 60_000,
        referrers: true,
      };
      const lost = digestOf(images[1]?.blobs[0] ?? Buffer.alloc(0));
      relay.onAnswer = (path) =>
        path.includes(lost)
          ? { afterBytes: Infinity, cut: false, alter: (b) => b.fill(0) }
          : undefined;
      const rule = aRule({ upstream: relay.url });
      const signal = new AbortController().signal;
      const failed = await server.registry.sync(rule, wanted, signal);
      assert.equal(failed.failed, [{ name: "app:v1", code: "UPSTREAM_FAULTY" }]);
      const listed = await client.send("GET", "/v2/hub/app/manifests/" + index.digest);
      assert.is(listed.status, 200, "asked for, it comes without all its parts");
      relay.onAnswer = undefined;
      const report = await server.registry.sync(rule, wanted, signal);
      assert.equal([report.tags, report.failed], [1, []]);
      await scene.upstream.kill();
      for (const image of images) {
        for (const blob of image.blobs) {
          const { body } = await client.send("GET", `/v2/hub/app/blobs/${digestOf(blob)}`);
          assert.ok(body.equals(blob));
        }
      }
    },
    slow,
  );

  test(
    "never follows the upstream to a host that the rule does not name",
    async () => {
      const visited: string[] = [];
      await using secret = await aPlainServer((path) => {
        visited.push(path);
        return { status: 200, headers: {}, body: "secret ".repeat(10_000) };
      });
      const blob = randomBlob();
      const digest = digestOf(blob);
      await using evil = await aPlainServer((path) =>
        path.includes("/blobs/")
          ? { status: 307, headers: { location: `${secret.url}/internal` }, body: "" }
          : {
              status: 401,
              headers: { "www-authenticate": `Bearer realm="${secret.url}/token",service="x"` },
              body: "",
            },
      );
      const credentials = { name: "mirror", password: "password of ours" };
      await using server = await aRegistryServer({
        mirrors: [aRule({ upstream: evil.url, credentials })],
      });
      const client = createClient(server.url);
      for (const path of [`blobs/${digest}`, "manifests/v1"]) {
        const answer = await client.send("GET", `/v2/hub/app/${path}`);
        assert.equal([answer.status, ...errorCodes(answer)], [502, "UPSTREAM_FAULTY"]);
        assert.not.match(answer.body.toString(), /secret /);
      }
      assert.equal(visited, []);
      await using open = await aRegistryServer({
        mirrors: [aRule({ upstream: evil.url, hosts: [new URL(secret.url).host] })],
      });
      const allowed = await createClient(open.url).send("HEAD", `/v2/hub/app/blobs/${digest}`);
      assert.equal([allowed.status, visited], [200, ["/internal"]]);
    },
    slow,
  );

  test(
    "ends a circle of redirects",
    async () => {
      await using server = await aPlainServer((path) => ({
        status: 307,
        headers: { location: path },
        body: "",
      }));
      await using store = await aRegistryServer({ mirrors: [aRule({ upstream: server.url })] });
      const answer = await createClient(store.url).send("GET", "/v2/hub/app/manifests/v1");
      assert.equal([answer.status, ...errorCodes(answer)], [502, "UPSTREAM_FAULTY"]);
    },
    slow,
  );
});

type Plain = {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: string;
};

async function aPlainServer(
  answer: (path: string) => Plain,
): Promise<AsyncDisposable & { readonly url: string }> {
  const server = createServer(({ url = "/" }, outgoing) => {
    const { status, headers, body } = answer(url);
    outgoing.writeHead(status, { ...headers, "content-length": Buffer.byteLength(body) }).end(body);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

suite("challenges", (test) => {
  test("are read in the forms that registries send", () => {
    const bearer = {
      scheme: "bearer",
      realm: "https://a/t",
      service: "s",
      scope: "repository:x:pull,push",
    };
    const header = `Bearer realm="https://a/t",service="s",scope="repository:x:pull,push"`;
    assert.equal(readChallenge(header), bearer);
    assert.equal(
      readChallenge(`bearer  realm="https://a/t", service=s, scope="repository:x:pull,push"`),
      bearer,
    );
    assert.equal(readChallenge(`Basic realm="x"`), { scheme: "basic" });
    for (const other of [
      undefined,
      "",
      "Negotiate",
      "Bearer",
      "Bearer x=1",
      `Bearer ${"x".repeat(5_000)}`,
    ]) {
      assert.is(readChallenge(other), undefined);
    }
  });
});

suite("the file of settings", (test) => {
  test("gives the rules with their defaults", async () => {
    await using folder = aTemporaryDirectory();
    const [path, password] = [`${folder.path}/store.yaml`, `${folder.path}/password`];
    await writeFile(password, "secret\n");
    await writeFile(
      path,
      `mirrors:
  - prefix: hub
    upstream: https://registry.example:443/
    username: somebody
    passwordFile: ${password}
    tagTtl: 10m
    sync: [{ repositories: [a/b], every: 6h }]
`,
    );
    assert.equal(readConfig(path).mirrors, [
      aRule({
        upstream: "https://registry.example",
        credentials: { name: "somebody", password: "secret" },
        tagTtlMs: 600_000,
        sync: [{ repositories: ["a/b"], tags: ["*"], everyMs: 21_600_000, referrers: true }],
      }),
    ]);
    assert.equal(readConfig(undefined).mirrors, []);
  });

  test("gives policies, intervals and the quota with the longest prefix", async () => {
    await using folder = aTemporaryDirectory();
    const path = `${folder.path}/store.yaml`;
    await writeFile(
      path,
      `garbage: { every: 2h, retention: [{ repositories: [a], keepLast: 2, keepPulledWithin: 3d }] }
scrub: { rate: 1Mi }
quotas: [{ prefix: team, bytes: 1Ki }, { prefix: "", bytes: 1Mi }, { prefix: team/big, bytes: 2Ki }]
`,
    );
    const { upkeep, quota } = readConfig(path);
    assert.equal(upkeep, {
      collectEveryMs: 7_200_000,
      graceMs: 86_400_000,
      policies: [
        { repositories: ["a"], keepUntagged: false, keepLast: 2, keepPulledWithinMs: 259_200_000 },
      ],
      scrubEveryMs: 604_800_000,
      bytesPerSecondMax: 1_048_576,
    });
    const cases = [
      ["team", "team"],
      ["team/app", "team"],
      ["team/big/app", "team/big"],
      ["teams", ""],
    ] as const;
    for (const [repository, prefix] of cases) assert.is(quota(repository)?.prefix, prefix);
  });

  test("says what is wrong where", async () => {
    await using folder = aTemporaryDirectory();
    const path = `${folder.path}/store.yaml`;
    const mirror = "prefix: a, upstream: 'https://x'";
    for (const text of [
      "mirrors: [",
      "more: 1",
      "mirrors: [{ prefix: a }]",
      "mirrors: [{ prefix: A, upstream: 'https://x' }]",
      "mirrors: [{ prefix: a, upstream: 'ftp://x' }]",
      "mirrors: [{ prefix: a, upstream: 'https://user@x' }]",
      "mirrors: [{ prefix: a, upstream: 'https://x/path' }]",
      `mirrors: [{ ${mirror}, username: x }]`,
      `mirrors: [{ ${mirror}, username: x, passwordFile: /nonexistent }]`,
      `mirrors: [{ ${mirror}, username: x, passwordFile: / }]`,
      `mirrors: [{ ${mirror}, sync: [{ repositories: [a], every: 1s }] }]`,
      `mirrors: [{ ${mirror} }, { ${mirror} }]`,
      "garbage: { every: 30d }",
      "quotas: [{ prefix: A, bytes: 1 }]",
    ]) {
      await writeFile(path, text);
      throwsWithCode(() => readConfig(path), "CONFIG_INVALID");
    }
    throwsWithCode(() => readConfig(`${folder.path}/absent`), "CONFIG_INVALID");
  });
});
