import type { AuthorizeRequest } from "@strata/registry/authorize";

import { anIndex } from "../support/images.ts";
import {
  createClient,
  digestOf,
  errorCodes,
  randomBlob,
  withDigest,
} from "../support/registry-client.ts";
import { aRegistryServer } from "../support/registry-server.ts";
import { assert, suite } from "../support/suite.ts";

const wwwAuthenticate = `Basic realm="strata"`;

suite("access", (test) => {
  test("every route asks, with the action and the repository of its path", async () => {
    const asked: AuthorizeRequest[] = [];
    await using server = await aRegistryServer({
      authorize: (request) => {
        asked.push(request);
        return { kind: "challenge", wwwAuthenticate };
      },
    });
    const client = createClient(server.url);
    const digest = digestOf(randomBlob());
    const routes = [
      ["GET", "/v2/", "pull", undefined],
      ["GET", "/v2/_catalog", "list", undefined],
      ["GET", "/v2/a/b/tags/list", "pull", "a/b"],
      ["GET", `/v2/a/b/referrers/${digest}`, "pull", "a/b"],
      ["GET", "/v2/a/b/manifests/x", "pull", "a/b"],
      ["HEAD", "/v2/a/b/manifests/x", "pull", "a/b"],
      ["PUT", "/v2/a/b/manifests/x", "push", "a/b"],
      ["DELETE", "/v2/a/b/manifests/x", "delete", "a/b"],
      ["GET", `/v2/a/b/blobs/${digest}`, "pull", "a/b"],
      ["HEAD", `/v2/a/b/blobs/${digest}`, "pull", "a/b"],
      ["DELETE", `/v2/a/b/blobs/${digest}`, "delete", "a/b"],
      ["POST", "/v2/a/b/blobs/uploads/", "push", "a/b"],
      ["GET", "/v2/a/b/blobs/uploads/u", "push", "a/b"],
      ["PATCH", "/v2/a/b/blobs/uploads/u", "push", "a/b"],
      ["PUT", "/v2/a/b/blobs/uploads/u", "push", "a/b"],
      ["DELETE", "/v2/a/b/blobs/uploads/u", "push", "a/b"],
    ] as const;
    for (const [method, path, action, repository] of routes) {
      asked.length = 0;
      const answer = await client.send(method, path, { headers: { authorization: "Bearer t" } });
      assert.is(answer.status, 401, `${method} ${path}`);
      assert.is(answer.headers["www-authenticate"], wwwAuthenticate);
      assert.equal(
        asked.map((request) => [request.authorization, request.action, request.repository]),
        [["Bearer t", action, repository]],
      );
    }
  });

  test("who is known but not allowed gets 403 DENIED", async () => {
    await using server = await aRegistryServer({ authorize: () => ({ kind: "denied" }) });
    const answer = await createClient(server.url).send("GET", "/v2/a/tags/list");
    assert.equal([answer.status, ...errorCodes(answer)], [403, "DENIED"]);
  });

  test("a mount takes only from repositories that the caller may pull", async () => {
    await using server = await aRegistryServer({
      authorize: ({ authorization, action, repository }) =>
        action === "pull" && repository === "secret" && authorization !== "Bearer owner"
          ? { kind: "denied" }
          : { kind: "allowed", subject: authorization ?? "anyone" },
    });
    const client = createClient(server.url);
    const digest = await client.pushBlob("secret", randomBlob());
    for (const from of ["", "&from=secret"]) {
      const path = `/v2/mine/blobs/uploads/?mount=${digest}${from}`;
      assert.is((await client.send("POST", path)).status, 202);
      assert.is((await client.send("HEAD", `/v2/mine/blobs/${digest}`)).status, 404);
    }
    const path = `/v2/theirs/blobs/uploads/?mount=${digest}`;
    const owner = { authorization: "Bearer owner" };
    assert.is((await client.send("POST", path, { headers: owner })).status, 201);
  });

  test("a blob of another repository cannot be read or referred to", async () => {
    await using server = await aRegistryServer();
    const client = createClient(server.url);
    const digest = await client.pushBlob("a", randomBlob());
    for (const repository of ["b", "a/b"]) {
      assert.is((await client.send("GET", `/v2/${repository}/blobs/${digest}`)).status, 404);
      assert.is((await client.send("DELETE", `/v2/${repository}/blobs/${digest}`)).status, 404);
    }
    await client.putManifest("/v2/a/manifests/x", anIndex([]));
    assert.is((await client.send("GET", "/v2/b/manifests/x")).status, 404);
  });

  test("an upload of another repository or caller is unknown, and keeps its bytes", async () => {
    await using server = await aRegistryServer({
      authorize: ({ authorization }) => ({ kind: "allowed", subject: authorization ?? "anyone" }),
    });
    const client = createClient(server.url);
    const mine = { authorization: "Bearer mine" };
    const bytes = randomBlob();
    const started = await client.send("POST", "/v2/a/blobs/uploads/", { headers: mine });
    const location = started.headers["location"] ?? "";
    const elsewhere = location.replace("/v2/a/", "/v2/b/");
    for (const method of ["GET", "PATCH", "PUT", "DELETE"]) {
      const path = (url: string): string => withDigest(url, digestOf(bytes));
      const stolen = await client.send(method, path(location), {
        headers: { authorization: "Bearer x" },
      });
      assert.is(stolen.status, 404, `${method} by another`);
      const moved = await client.send(method, path(elsewhere), { headers: mine });
      assert.is(moved.status, 404, `${method} in another repository`);
    }
    const closing = withDigest(location, digestOf(bytes));
    assert.is((await client.send("PUT", closing, { headers: mine, body: bytes })).status, 201);
  });
});
