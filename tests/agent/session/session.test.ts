import { readFileSync } from "node:fs";
import { join } from "node:path";

import type { DesiredState } from "@strata/agent/accept-assignments";
import { createControllerClient, createDispatcher } from "@strata/agent/controller-client";
import { createLogger } from "@strata/agent/logger";
import { Session } from "@strata/agent/session";
import { serveStream } from "@strata/agent/streams";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { aController, type TestController } from "../support/a-controller.ts";
import { aNode, type TestNode } from "../support/a-node.ts";
import { anAssignment } from "../support/an-assignment.ts";
import { someCertificates } from "../support/certificates.ts";

const nothing: DesiredState = { version: 1, epoch: "epoch-1", revision: 0, assignments: [] };
const credential = "node-credential-of-the-test";
const running = anAssignment("echo hello; exec sleep 600", { spec: { stopGraceMs: 0 } });

type Connected = AsyncDisposable & { readonly desiredPath: string };

/** A node that talks to the controller as the daemon makes it. */
async function connect(
  node: TestNode,
  controller: TestController,
  caPem?: string,
): Promise<Connected> {
  const folder = aTemporaryDirectory();
  const desiredPath = join(folder.path, "desired.json");
  const dispatcher = createDispatcher({ url: controller.url, caPem });
  const client = createControllerClient(
    { url: controller.url, nodeId: "node-1", credential },
    dispatcher,
  );
  const logger = createLogger("silent");
  const session = new Session({
    client,
    logger,
    random: () => 0,
    agentVersion: "0.0.0",
    bootId: "boot-1",
    beatIntervalMs: 5000,
    desired: nothing,
    desiredPath,
    onDesired: ({ assignments }) => node.assign(...assignments),
    onStream: (request) => void serveStream(request, { runtime: node.runtime(), client, logger }),
    describeProcesses: () => node.runtime().report(),
  });
  const forget = node.onChange((urgency) => session.changed(urgency));
  const done = session.run();
  return {
    desiredPath,
    [Symbol.asyncDispose]: async () => {
      forget();
      session.close();
      await done;
      await dispatcher.destroy();
      await folder[Symbol.asyncDispose]();
    },
  };
}

suite("a session with the controller", (test) => {
  test("runs what is assigned and reports it, over TLS with the pinned CA", async () => {
    await using folder = aTemporaryDirectory();
    const certificates = someCertificates(folder.path);
    await using controller = await aController(certificates);
    await using node = await aNode();
    await using session = await connect(node, controller, certificates.caPem);
    controller.assign(running);
    const report = await controller.untilReport(
      ({ processes }) => processes[0]?.state === "running",
    );
    assert.is(report.processes[0]?.assignmentId, running.id);
    assert.is(report.revision, 1);
    assert.equal(
      controller.reports.map(({ sequence }) => sequence),
      controller.reports.map((_, index) => index + 1),
    );
    const kept = JSON.parse(readFileSync(session.desiredPath, "utf8"));
    assert.is(kept.assignments[0].processId, "web-1");
  });

  test("stops nothing while the controller is silent, and goes on when it is back", async () => {
    await using controller = await aController();
    await using node = await aNode();
    await using _session = await connect(node, controller);
    controller.assign(running);
    const before = await controller.untilReport(
      ({ processes }) => processes[0]?.state === "running",
    );
    controller.setSilent(true);
    process.kill(before.processes[0]?.pid ?? 0, "SIGKILL");
    const restarted = await node.until(
      "web-1",
      ({ state, restarts }) => state === "running" && restarts === 1,
    );
    controller.setSilent(false);
    const after = await controller.untilReport(({ processes }) => processes[0]?.restarts === 1);
    assert.is(after.processes[0]?.pid, restarted.pid);
    controller.assign();
    await node.untilForgotten("web-1");
  });

  test("ends nothing on the word of another epoch, until it is confirmed", async () => {
    await using controller = await aController();
    await using node = await aNode();
    await using _session = await connect(node, controller);
    controller.assign(running);
    await controller.untilReport(({ processes }) => processes[0]?.state === "running");
    const added = anAssignment("exec sleep 600", { processId: "web-2", spec: { stopGraceMs: 0 } });
    controller.say({ epoch: "epoch-2", assignments: [added] });
    const report = await controller.untilReport(({ processes }) =>
      processes.some(({ processId, state }) => processId === "web-2" && state === "running"),
    );
    assert.is(report.epoch, "epoch-1");
    assert.is(node.report("web-1")?.state, "running");
    controller.say({ epoch: "epoch-2", follows: ["epoch-1"], assignments: [added] });
    await node.untilForgotten("web-1");
    assert.is(node.report("web-2")?.state, "running");
    await controller.untilReport(({ epoch }) => epoch === "epoch-2");
  });

  test("serves logs and commands over connections of its own", async () => {
    await using controller = await aController();
    await using node = await aNode();
    await using _session = await connect(node, controller);
    controller.assign(running);
    await node.until("web-1", ({ state }) => state === "running");
    const exec = { kind: "exec", processId: "web-1", tty: false, env: {} } as const;
    const frames = await controller.ask({
      ...exec,
      id: "s1",
      command: ["sh", "-c", "echo out; exit 4"],
    });
    const text = frames
      .filter(({ type }) => type === "stdout")
      .map(({ payload }) => payload.toString());
    assert.is(text.join(""), "out\n");
    assert.equal(frames.at(-1)?.type, "exit");
    assert.equal(JSON.parse(frames.at(-1)?.payload.toString() ?? ""), { code: 4 });
    const logs = await controller.ask({
      kind: "logs",
      id: "s2",
      processId: "web-1",
      follow: false,
    });
    assert.is(logs.map(({ payload }) => payload.toString()).join(""), "hello\n");
    const [none] = await controller.ask({
      kind: "logs",
      id: "s3",
      processId: "gone-1",
      follow: false,
    });
    assert.is(none?.type, "error");
    assert.match(none?.payload.toString() ?? "", /NOT_RUNNING/);
  });
});
