import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { Problem } from "@strata/protocol/errors";
import { mediaTypes } from "@strata/protocol/oci/media-type";

import {
  type Answer,
  aRunningInstance,
  mustBecome,
  type RunningInstance,
} from "../support/running-instance.ts";
import { assert, suite } from "../support/suite.ts";

const digestOf = (bytes: Buffer): string =>
  `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** Refused with this status and code, in a problem that names the thing and the remedy. */
function assertRefused(answer: Answer, status: number, code: string): Problem {
  assert.is(answer.status, status, answer.text);
  const problem = Problem.parse(answer.body);
  assert.is(problem.code, code, answer.text);
  assert.ok(problem.detail.length > 10, answer.text);
  assert.ok((problem.hint ?? "").length > 10, `no remedy: ${answer.text}`);
  return problem;
}

/** Everything that a refused request could have changed. */
async function snapshot({ mustCall }: RunningInstance): Promise<string> {
  const paths = ["partitions", "cartridges", "subscriptions", "processes", "tokens"];
  const lists = await Promise.all(
    paths.map(async (path) => {
      const list: unknown = await mustCall("GET", `/v1/${path}`);
      // Counters of what runs go on meanwhile.
      return JSON.stringify(list).replaceAll(
        /"(metrics|lastUsedAt)":(\{[^}]*\}|"[^"]*"|null)/g,
        "",
      );
    }),
  );
  return lists.join("\n");
}

suite("bad input", (test) => {
  test(
    "is refused with the remedy, and changes nothing",
    async () => {
      await using strata = await aRunningInstance();
      const { call, mustCall } = strata;
      const viewer = await mustCall("POST", "/v1/tokens", { name: "viewer", scope: "viewer" });
      const before = await snapshot(strata);

      const unknown = await call("PUT", "/v1/subscriptions/web", { body: { cartridge: "nosuch" } });
      assert.match(assertRefused(unknown, 422, "REFERENCE_UNKNOWN").detail, "nosuch");

      const alias = await call("PUT", "/v1/subscriptions/Bad_Alias", {
        body: { cartridge: "hello" },
      });
      assertRefused(alias, 422, "INVALID");

      const greedy = await call("PUT", "/v1/subscriptions/web", {
        body: { cartridge: "hello", resources: { memory: "900Ti" } },
      });
      assertRefused(greedy, 422, "LIMITS_UNSATISFIABLE");

      const token = (viewer as { token: string }).token;
      const scope = await call("PUT", "/v1/partitions/p", { body: {}, token });
      assert.match(assertRefused(scope, 403, "FORBIDDEN").detail, "operator");
      assertRefused(await call("GET", "/v1/partitions", { token: "" }), 401, "UNAUTHENTICATED");

      const image = await call("PUT", "/v1/cartridges/c", { body: { image: "nosuch:1" } });
      assertRefused(image, 422, "IMAGE_NOT_FOUND");

      assert.is(await snapshot(strata), before);
    },
    { timeoutMs: 180_000 },
  );

  test(
    "of an image is found before anything of it runs",
    async () => {
      await using strata = await aRunningInstance();
      const { call, mustCall } = strata;
      const put = pusher(strata);

      // An empty archive, but not the one that the config names.
      const layer = Buffer.alloc(1024);
      const config = Buffer.from(
        JSON.stringify({
          architecture: process.arch === "arm64" ? "arm64" : "amd64",
          os: "linux",
          config: { Cmd: ["/bin/true"] },
          rootfs: { type: "layers", diff_ids: [digestOf(Buffer.from("other bytes"))] },
        }),
      );
      const manifest = Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: mediaTypes.manifest,
          config: { mediaType: mediaTypes.config, digest: digestOf(config), size: config.length },
          layers: [{ mediaType: mediaTypes.layer, digest: digestOf(layer), size: layer.length }],
        }),
      );
      assert.is(await put.blob(config), 201);
      assert.is(await put.manifest(manifest), 400, "a layer is missing");
      assert.is(await put.blob(Buffer.from("not those bytes"), digestOf(layer)), 400);
      assert.is(await put.blob(layer), 201);
      assert.is(await put.manifest(manifest), 201);

      await mustCall("PUT", "/v1/cartridges/broken", { image: "broken:1", partition: "local" });
      await mustCall("PUT", "/v1/subscriptions/broken", { cartridge: "broken" });
      const failed = await mustBecome("the process is failed", async () => {
        const [one] = await strata.processes("broken");
        return one?.state === "failed" ? one : undefined;
      });
      assert.is(failed.reason?.code, "LAYER_DIGEST_MISMATCH", JSON.stringify(failed));

      assert.is((await call("DELETE", "/v1/subscriptions/broken")).status < 300, true);
      await mustBecome("nothing of it is left", async () =>
        (await call("GET", "/v1/subscriptions/broken")).status === 404 ? true : undefined,
      );
    },
    { timeoutMs: 180_000 },
  );
});

type Pusher = {
  readonly blob: (bytes: Buffer, claimed?: string) => Promise<number>;
  readonly manifest: (bytes: Buffer) => Promise<number>;
};

/** Pushes to the repository `broken` as a careless client would; gives the status of each answer. */
function pusher({ instance }: RunningInstance): Pusher {
  const token = readFileSync(join(instance.data, "admin-token"), "utf8").trim();
  const send = async (path: string, request: RequestInit, type: string): Promise<number> => {
    const response = await fetch(`${instance.url}/v2/broken/${path}`, {
      ...request,
      headers: { authorization: `Bearer ${token}`, "content-type": type },
    });
    await response.arrayBuffer();
    return response.status;
  };
  return {
    blob: (bytes, claimed = digestOf(bytes)) =>
      send(
        `blobs/uploads/?digest=${claimed}`,
        { method: "POST", body: new Uint8Array(bytes) },
        "application/octet-stream",
      ),
    manifest: (bytes) =>
      send("manifests/1", { method: "PUT", body: new Uint8Array(bytes) }, mediaTypes.manifest),
  };
}
