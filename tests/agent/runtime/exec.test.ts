import { assert, rejectsWithCode, suite } from "../../support/suite.ts";
import { aNode, type TestNode } from "../support/a-node.ts";
import { anAssignment } from "../support/an-assignment.ts";
import { anExec } from "../support/exec-connection.ts";

async function aRunningProcess(): Promise<TestNode> {
  const node = await aNode({ config: { User: "www", WorkingDir: "/var/www" } });
  node.assign(
    anAssignment("exec sleep 600", { spec: { env: { COLOUR: "green" }, stopGraceMs: 0 } }),
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
});
