import { randomBytes } from "node:crypto";
import { PassThrough, Readable } from "node:stream";

import { linesOf, withoutControls } from "@strata/cli/stream/log";

import { assert, suite } from "../support/suite.ts";
import { runCli } from "./support/run-cli.ts";
import { aStreamServer } from "./support/stream-server.ts";

suite("exec", (test) => {
  test("asks for the command as it is, and ends with its exit code", async () => {
    await using server = await aStreamServer({
      onOpen: (send) => {
        send.frame("stdout", "out\n");
        send.frame("stderr", "err\n");
        send.frame("exit", { code: 7 });
      },
    });
    const args = ["exec", "-e", "A=b c", "web", "--", "ls", "-l", "a b", "--", "&x=1"];
    const { status, stdout, stderr } = await runCli(args, { env: server.env });
    assert.equal([status, stdout, stderr], [7, "out\n", "err\n"]);
    const url = new URL(server.opened[0] ?? "", "http://x");
    assert.is(url.pathname, "/v1/processes/web-1/exec");
    assert.equal(url.searchParams.getAll("command"), ["ls", "-l", "a b", "--", "&x=1"]);
    assert.equal(url.searchParams.getAll("env"), ["A=b c"]);
    assert.is(url.searchParams.get("tty"), null);
  });

  test("takes options after the process for the command's own, without --", async () => {
    await using server = await aStreamServer({ onOpen: (send) => send.frame("exit", { code: 0 }) });
    await runCli(["exec", "web-1", "ls", "-e", "-i"], { env: server.env });
    const url = new URL(server.opened[0] ?? "", "http://x");
    assert.equal(url.searchParams.getAll("command"), ["ls", "-e", "-i"]);
  });

  test("sends standard input whole, and its end", async () => {
    const input = randomBytes(3_000_000);
    const received: Buffer[] = [];
    await using server = await aStreamServer({
      onFrame: ({ type, payload }, send) => {
        if (type === "stdin") received.push(payload);
        if (type === "stdinEnd") send.frame("exit", { code: 0 });
      },
    });
    const args = ["exec", "-i", "web", "--", "cat"];
    const { status } = await runCli(args, { env: server.env, stdin: Readable.from([input]) });
    assert.is(status, 0);
    assert.ok(Buffer.concat(received).equals(input));
    assert.ok(received.every((chunk) => chunk.length <= 64 * 1024));
  });

  test("says at once that there is no input without -i", async () => {
    await using server = await aStreamServer({
      onFrame: ({ type }, send) => {
        if (type === "stdinEnd") send.frame("exit", { code: 3 });
      },
    });
    const stdin = new PassThrough();
    const { status } = await runCli(["exec", "web", "--", "cat"], { env: server.env, stdin });
    assert.is(status, 3);
  });

  test("gives an interrupt to the command, and waits for what it makes of it", async () => {
    const interrupt = new AbortController();
    await using server = await aStreamServer({
      onOpen: (send) => send.frame("stdout", "ready "),
      onFrame: ({ type, payload }, send) => {
        if (type !== "signal") return;
        send.frame("stdout", payload.toString());
        send.frame("exit", { code: 42 });
      },
    });
    const { status, stdout } = await runCli(["exec", "web", "--", "sleep", "9"], {
      env: server.env,
      signal: interrupt.signal,
      onOutput: () => interrupt.abort("SIGINT"),
    });
    assert.equal([status, stdout], [42, 'ready {"signal":"SIGINT"}']);
  });

  test("shows the node's own words when the command cannot run", async () => {
    await using server = await aStreamServer({
      onOpen: (send) => send.frame("error", { code: "EXEC_FAILED", message: "no such file: nope" }),
    });
    const { status, stderr } = await runCli(["exec", "web", "--", "nope"], { env: server.env });
    assert.is(status, 1);
    assert.match(stderr, "error: no such file: nope (EXEC_FAILED)");
  });

  test("says when the connection ends before the command", async () => {
    await using server = await aStreamServer({ onOpen: (send) => send.end() });
    const { status, stderr } = await runCli(["exec", "web", "--", "x"], { env: server.env });
    assert.is(status, 3);
    assert.match(stderr, "ended before the command did");
  });
});

suite("lines of a log", (test) => {
  test("are whole whatever the chunks, with the last one even without its end", async () => {
    const bytes = Buffer.from("eins\nzwöi\n\ndrei");
    for (const size of [1, 2, 3, 100]) {
      const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
        bytes.subarray(index * size, (index + 1) * size),
      );
      const lines: string[] = [];
      for await (const line of linesOf(Readable.from(chunks))) lines.push(line);
      assert.equal(lines, ["eins", "zwöi", "", "drei"]);
    }
  });

  test("that never end are given out in pieces", async () => {
    const chunks = Array.from({ length: 100 }, () => Buffer.alloc(10_000, "x"));
    let longest = 0;
    for await (const line of linesOf(Readable.from(chunks)))
      longest = Math.max(longest, line.length);
    assert.ok(longest > 0 && longest < 100_000, String(longest));
  });

  test("keep colours and lose what moves a cursor, sets a title or rings", () => {
    const cases: readonly (readonly [string, string])[] = [
      ["\u001b[31mred\u001b[0m\tx", "\u001b[31mred\u001b[0m\tx"],
      ["a\u001b[2Jb\u001b[1;1Hc", "abc"],
      ["a\u001b]0;title\u0007b", "ab"],
      ["a\u001b]52;c;ZXZpbA==\u001b\\b", "ab"],
      ["a\rb\u0008\u009b2Jc", "ab2Jc"],
      ["\u001b[?1049hx", "x"],
      ["unfinished \u001b]0;t", "unfinished "],
      ["\u001bcx", "cx"],
    ];
    for (const [line, shown] of cases)
      assert.is(withoutControls(line), shown, JSON.stringify(line));
  });
});
