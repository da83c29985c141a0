import { join } from "node:path";

import { ensureIngressAuthority } from "@strata/controller/pki/authority";
import { issueHostCertificate } from "@strata/controller/pki/host-certificate";

import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";
import { aControllerServer } from "./support/controller-server.ts";
import { writeFiles } from "./support/recipe-folder.ts";
import { runCli } from "./support/run-cli.ts";

const now = Date.parse("2026-01-01T01:00:00Z");

suite("strata certificate", (test) => {
  test("gives one with its key, asks for others, lists and deletes, and never shows the key", async () => {
    await using server = await aControllerServer();
    await using folder = aTemporaryDirectory();
    const authority = await ensureIngressAuthority(folder.path, now);
    const hosts = ["www.example.com"];
    const { chain, key } = await issueHostCertificate(authority, { hosts, nowMs: now });
    writeFiles(folder.path, { "chain.pem": chain, "key.pem": key });
    const files = [
      "--chain",
      join(folder.path, "chain.pem"),
      "--key",
      join(folder.path, "key.pem"),
    ];
    const strata = (...args: readonly string[]): ReturnType<typeof runCli> =>
      runCli(["certificate", ...args], { env: server.env, now });
    const runs = [
      await strata("set", "shop", ...files),
      await strata("request", "own", "a.example.com", "b.example.com", "--internal"),
      await strata("request", "public", "c.example.com", "--contact", "me@example.com"),
      await strata("ls"),
      await strata("ca"),
      await strata("delete", "shop", "own"),
    ];
    assert.equal(
      runs.map(({ status }) => status),
      [0, 0, 0, 0, 0, 0],
    );
    const said = runs.map(({ stdout }) => stdout);
    assert.is(said[0], "Certificate/shop is for www.example.com until 2026-04-01T01:00:00.000Z\n");
    assert.is(said[1], "Certificate/own is pending\n");
    assert.match(said[3] ?? "", /^NAME +SOURCE +STATE +HOSTS +ENDS +AGE\n/);
    assert.match(said[3] ?? "", /own +internal +pending +a.example.com,b.example.com +-/);
    assert.match(said[4] ?? "", /^-----BEGIN CERTIFICATE-----\n/);
    assert.not.match(JSON.stringify(runs), /PRIVATE KEY/);
  });

  test("refuses a key without a chain, and half of an account", async () => {
    await using server = await aControllerServer();
    for (const args of [
      ["set", "shop", "--key", "-"],
      ["request", "shop", "a.example.com", "--key-id", "1"],
    ]) {
      const { status, stderr } = await runCli(["certificate", ...args], { env: server.env, now });
      assert.is(status, 2);
      assert.match(stderr, /wants --chain|belong together/);
    }
  });
});
