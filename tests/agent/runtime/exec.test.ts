import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

import { encodeFrame } from "@strata/protocol/agent/stream";

import { assert, rejectsWithCode, suite } from "../../support/suite.ts";
import { aNode, type TestNode } from "../support/a-node.ts";
import { anAssignment } from "../support/an-assignment.ts";
import { anExec } from "../support/exec-connection.ts";
import { aStream } from "../support/stream-connection.ts";

async function aRunningProcess(): Promise<TestNode> {
  const node = await aNode({ config: { User: "www", WorkingDir: "/var/www" } });
  node.assign(
    anAssignment("exec sleep 600", {
      spec: {
        env: { COLOUR: "green" },
        stopGraceMs: 0,
        limits: { memoryMaxBytes: 256 * 1024 ** 2, cpuMaxMillis: 1000, pidsMax: 512 },
      },
    }),
  );
  await node.until("web-1", ({ state }) => state === "running");
  return node;
}

suite("exec", (test) => {
  test("runs a command with the application's user, environment and restrictions", async () => {
    await using node = await aRunningProcess();
    const script =
      "id -u; id -g; echo \"$COLOUR $HOME $EXTRA\"; grep -E 'NoNewPrivs|Seccomp:|CapEff' /proc/self/status; ls /proc/self/fd | grep -vE '^[0-3]$'; exit 7";
    const { result } = anExec(node, { command: ["sh", "-c", script], env: { EXTRA: "a  b " } });
    const { stdout, code } = await result;
    assert.is(code, 7);
    assert.match(stdout, /^33\n33\ngreen \/var\/www a  b \n/);
    assert.match(stdout, /NoNewPrivs:\t1/);
    assert.match(stdout, /Seccomp:\t2/);
    assert.match(stdout, /CapEff:\t0{16}/);
    assert.is(stdout.trim().split("\n").length, 6, "no handle of the host is open");
  });

  test("passes input on, keeps output and errors apart, and ends input when told to", async () => {
    await using node = await aRunningProcess();
    const session = anExec(node, { command: ["sh", "-c", "cat; echo oops >&2"] });
    session.send("stdin", "one\n");
    session.send("stdin", "two\n");
    session.send("stdinEnd");
    assert.equal(await session.result, { stdout: "one\ntwo\n", stderr: "oops\n", code: 0 });
  });

  test("gives the command a terminal that takes keys and sizes", async () => {
    await using node = await aRunningProcess();
    const session = anExec(node, { command: ["sh"], tty: true });
    session.send("resize", { columns: 123, rows: 45 });
    session.send("stdin", "tty; stty size; echo $TERM\n");
    await session.untilOutput("45 123");
    session.send("stdin", "exit 5\n");
    const { stdout, code } = await session.result;
    assert.match(stdout, /\/dev\/pts\/\d/);
    assert.match(stdout, /xterm-256color/);
    assert.is(code, 5);
  });

  test("ends the command when whoever asked for it is gone", async () => {
    await using node = await aRunningProcess();
    for (const tty of [false, true]) {
      const session = anExec(node, { command: ["sh", "-c", "echo ready; exec sleep 500"], tty });
      await session.untilOutput("ready");
      session.hangUp();
      const { code } = await session.result;
      // lxc-attach says 1 instead of the signal's number when the command ends before it looks.
      assert.is.not(code, 0, `${tty ? "with" : "without"} a terminal`);
    }
  });

  test("sends a signal to the command alone", async () => {
    await using node = await aRunningProcess();
    const session = anExec(node, {
      command: ["sh", "-c", "trap 'exit 3' INT; echo ready; while :; do sleep 0.05; done"],
    });
    await session.untilOutput("ready");
    session.send("signal", { signal: "SIGINT" });
    assert.is((await session.result).code, 3);
    assert.is(node.report("web-1")?.state, "running");
  });

  test("refuses a process whose container is gone", async () => {
    await using node = await aRunningProcess();
    const { result } = anExec(node, { processId: "other-1" });
    await rejectsWithCode(result, "NOT_RUNNING");
  });

  test("passes a signal on with a terminal, too", async () => {
    await using node = await aRunningProcess();
    const script = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    const session = anExec(node, { command: ["sh", "-c", script], tty: true });
    await session.untilOutput("ready");
    session.send("signal", { signal: "SIGTERM" });
    assert.is((await session.result).code, 3);
    assert.is(node.report("web-1")?.state, "running");
  });

  test("carries any bytes both ways, however many", async () => {
    await using node = await aRunningProcess();
    const input = randomBytes(3_000_000);
    const stream = aStream(node, { ...aWish, command: ["cat"] });
    for (let at = 0; at < input.length; at += 65_536)
      await stream.send("stdin", input.subarray(at, at + 65_536));
    await stream.send("stdinEnd");
    const { output, end } = await stream.result;
    assert.equal(end, { type: "exit", code: 0 });
    assert.ok(output.equals(input));
  });

  test("loses nothing of a megabyte that is pasted into a terminal", async () => {
    await using node = await aRunningProcess();
    const script = "stty raw -echo; echo ready; head -c 1000000 | busybox md5sum";
    const session = anExec(node, { command: ["sh", "-c", script], tty: true });
    await session.untilOutput("ready");
    const pasted = Buffer.alloc(1_000_000, "paste\u0003\u0004\r\n\u0000");
    for (let at = 0; at < pasted.length; at += 65_536)
      session.send("stdin", pasted.subarray(at, at + 65_536));
    const { stdout, code } = await session.result;
    assert.is(code, 0);
    assert.match(stdout, createHash("md5").update(pasted).digest("hex"));
  });

  test("runs a hundred commands at once", async () => {
    await using node = await aRunningProcess();
    const sessions = Array.from({ length: 100 }, (_, index) =>
      anExec(node, { command: ["sh", "-c", `echo ${index}; exit ${index}`] }),
    );
    const results = await Promise.all(sessions.map(({ result }) => result));
    assert.equal(
      results.map(({ stdout, code }) => [stdout, code]),
      results.map((_, index) => [`${index}\n`, index]),
    );
  });

  test("ends a command that takes no input when its client is gone without a word", async () => {
    await using node = await aRunningProcess();
    await using sockets = await aSocketPair();
    const { client, agent } = sockets;
    const stream = aStream(node, { ...aWish, command: ["sleep", "500"] }, [client, agent]);
    // More than all pipes on the way hold, so that nobody reads the client's end any more.
    for (let part = 0; part < 64; part += 1)
      client.write(encodeFrame("stdin", Buffer.alloc(1024 * 1024)));
    const ended = new Promise((resolve) => agent.once("close", resolve));
    await new Promise((resolve) => agent.once("pause", resolve));
    client.resetAndDestroy();
    await Promise.all([ended, stream.result.catch(() => undefined)]);
    const { stdout } = await anExec(node, { command: ["busybox", "ps", "-o", "args"] }).result;
    assert.not.match(stdout, "sleep 500");
  });
});

const aWish = { kind: "exec", id: "exec-1", processId: "web-1", tty: false, env: {} } as const;

type SocketPair = AsyncDisposable & { readonly client: Socket; readonly agent: Socket };

async function aSocketPair(): Promise<SocketPair> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const client = connect(typeof address === "object" ? (address?.port ?? 0) : 0, "127.0.0.1");
  client.on("error", () => undefined);
  const [agent] = await once(server, "connection");
  return {
    client,
    agent,
    [Symbol.asyncDispose]: async () => {
      client.destroy();
      agent.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
