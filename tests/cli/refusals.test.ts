import { once } from "node:events";
import { createServer } from "node:http";

import { aFakeAgent, prepare } from "../support/fake-agent.ts";
import { assert, suite } from "../support/suite.ts";
import { aControllerServer } from "./support/controller-server.ts";
import { runCli } from "./support/run-cli.ts";

suite("exit status and errors", (test) => {
  test("2 for wrong use, with the usage", async () => {
    for (const args of [
      ["nope"],
      ["get"],
      ["get", "subs", "--nope"],
      ["scale", "a", "many"],
      ["get", "subs", "-o", "xml"],
      ["get", "things"],
      ["apply"],
      ["completion", "tcsh"],
    ]) {
      const { status, stdout, stderr } = await runCli(args, {
        env: { STRATA_URL: "http://127.0.0.1:1" },
      });
      assert.equal([status, stdout], [2, ""], `${args.join(" ")}: ${stderr}`);
      assert.match(stderr, /^error: /);
    }
  });

  test("0 for help, which lists every command and the exit statuses", async () => {
    const { status, stdout } = await runCli(["--help"]);
    assert.is(status, 0);
    for (const word of [
      "login",
      "apply",
      "cartridge",
      "node",
      "exec",
      "completion",
      "3 server not reached",
    ]) {
      assert.match(stdout, word);
    }
    assert.not.match(stdout, "__complete");
  });

  test("1 for what the server refuses, with its code, its fields and its hint", async () => {
    await using server = await aControllerServer();
    const missing = await runCli(["get", "sub", "nope"], { env: server.env });
    assert.is(missing.status, 1);
    assert.match(missing.stderr, /^error: .*nope.* \(NOT_FOUND\)\nhint: /);
    const bad = await runCli(["node", "join-token", "web", "--expires-in", "soon"], {
      env: server.env,
    });
    assert.is(bad.status, 1);
    assert.match(bad.stderr, /\n {2}\S*expiresIn: .*soon/);
    const unknown = await runCli(["get", "subs"], { env: { ...server.env, STRATA_TOKEN: "x" } });
    assert.match(unknown.stderr, "(UNAUTHENTICATED)");
  });

  test("3 for a server that is not there, with the address", async () => {
    const { status, stderr } = await runCli(["get", "subs"], {
      env: { STRATA_URL: "http://127.0.0.1:1" },
    });
    assert.is(status, 3);
    assert.match(stderr, "error: the controller at http://127.0.0.1:1 did not answer");
    assert.match(stderr, "because: connect ECONNREFUSED");
    assert.match(stderr, "hint: check the address");
  });

  test("says when the address is that of something else", async () => {
    const server = createServer((_request, response) => response.writeHead(404).end("<html>"));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = address === null || typeof address === "string" ? 0 : address.port;
    const { status, stderr } = await runCli(["get", "subs"], {
      env: { STRATA_URL: `http://127.0.0.1:${port}` },
    });
    server.close();
    assert.is(status, 1);
    assert.match(stderr, "is this the address of a Strata controller?");
  });

  test("asks to log in when no controller is known", async () => {
    const { status, stderr } = await runCli(["get", "subs"]);
    assert.is(status, 2);
    assert.match(stderr, "hint: log in with: strata login URL");
  });

  test("refuses an address that is none", async () => {
    for (const url of ["ftp://a", "https://a/b", "https://user@a", "https://a?x"]) {
      assert.is((await runCli(["login", url])).status, 2, url);
    }
  });

  test("takes an unknown name for what it is: neither process nor subscription", async () => {
    await using server = await aControllerServer();
    const { status, stderr } = await runCli(["logs", "nope"], { env: server.env });
    assert.is(status, 1);
    assert.match(stderr, 'there is no process and no subscription "nope"');
  });

  test("does not attach without a terminal when asked for one", async () => {
    await using server = await aControllerServer();
    await prepare(server.controller, 1);
    await aFakeAgent(server.controller);
    const { status, stderr } = await runCli(["exec", "-it", "hi", "--", "sh"], { env: server.env });
    assert.is(status, 2);
    assert.match(stderr, "-t needs a terminal");
  });

  test("writes no colours where nobody sees them", async () => {
    await using server = await aControllerServer();
    const { stdout, stderr } = await runCli(["get", "sub", "nope"], { env: server.env });
    assert.not.match(stdout + stderr, "\u001b");
  });
});

suite("completions", (test) => {
  const complete = async (...words: readonly string[]): Promise<readonly string[]> => {
    const { stdout } = await runCli(["__complete", "--", ...words]);
    return stdout.trimEnd().split("\n");
  };

  test("know commands, subcommands, kinds, options and shells", async () => {
    assert.equal(await complete("co"), ["context", "completion"]);
    assert.equal(await complete("node", "c"), ["cordon"]);
    assert.equal(await complete("get", "no"), ["nodes"]);
    assert.equal(await complete("apply", "--d"), ["--dry-run"]);
    assert.equal(await complete("completion", ""), ["bash", "zsh", "fish"]);
  });

  test("know the names of what there is", async () => {
    await using server = await aControllerServer();
    await prepare(server.controller, 1);
    const { stdout } = await runCli(["__complete", "--", "scale", "h"], { env: server.env });
    assert.is(stdout, "hi\n");
  });

  for (const shell of ["bash", "zsh", "fish"]) {
    test(`are printed for ${shell}`, async () => {
      const { status, stdout } = await runCli(["completion", shell]);
      assert.is(status, 0);
      assert.match(stdout, "strata __complete --");
    });
  }
});
