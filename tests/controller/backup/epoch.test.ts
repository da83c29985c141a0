import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

import { acceptAssignments, type DesiredState } from "@strata/agent/accept-assignments";
import { restore } from "@strata/controller/backup/restore";
import { setMeta } from "@strata/controller/store/meta";
import { deleteVm } from "@strata/controller/store/vms";
import type { ProcessReport } from "@strata/protocol/agent/messages";

import { aController, type TestController } from "../../support/controller.ts";
import { aFakeAgent, aProcessReport, type FakeAgent, prepare } from "../../support/fake-agent.ts";
import { aFleet } from "../../support/fleet.ts";
import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

const START = Date.parse("2026-01-01T00:00:00Z");

/** An agent with the real one's memory: what it was told last, by the rules by which it takes messages. */
type Remembering = {
  readonly agent: FakeAgent;
  readonly runs: () => readonly string[];
  readonly epoch: () => string;
  /** Asks, takes in what it may, reports all that it runs. */
  readonly work: () => Promise<void>;
};

async function aRememberingAgent(
  controller: Pick<TestController, "call">,
  { name, epoch }: { readonly name: string; readonly epoch: string },
): Promise<Remembering> {
  const agent = await aFakeAgent(controller, { name });
  let desired: DesiredState = { version: 1, epoch, revision: 0, assignments: [] };
  const running = (): DesiredState["assignments"] =>
    desired.assignments.filter((assignment) => assignment.desired === "running");
  return {
    agent,
    epoch: () => desired.epoch,
    runs: () => running().map(({ processId }) => processId),
    work: async () => {
      const message = await agent.poll();
      if (message !== undefined) ({ desired } = acceptAssignments(desired, message));
      const processes: readonly ProcessReport[] = desired.assignments.map((one) =>
        aProcessReport(one),
      );
      const { epoch: known, revision } = desired;
      const answer = await agent.report(processes, { epoch: known, revision });
      assert.is(answer.status, 200);
    },
  };
}

async function takeBackup({ services }: TestController, file: string): Promise<void> {
  const { signal } = new AbortController();
  await using backup = await services.backups.open({ blobs: false, signal });
  await pipeline(backup.archive, createWriteStream(file));
}

async function settleWith(
  controller: TestController,
  agents: readonly Remembering[],
): Promise<void> {
  for (let round = 0; round < 4; round += 1) {
    controller.settle();
    for (const { work } of agents) await work();
  }
  controller.settle();
}

async function ready({ call }: TestController): Promise<number> {
  return (await call("GET", "/v1/subscriptions/hi")).body.status.ready;
}

suite("a restored controller", (test) => {
  test("stops nothing and starts nothing until it is confirmed, whatever was made after the backup", async () => {
    await using folder = aTemporaryDirectory();
    const archive = join(folder.path, "backup.tar.zst");
    await using first = await aController({ file: join(folder.path, "strata.db") });
    let current: TestController = first;
    const calls: Pick<TestController, "call"> = { call: (...args) => current.call(...args) };
    await prepare(first, 2);
    const { epoch } = first.services;
    const known = await aRememberingAgent(calls, { name: "node-a", epoch });
    await settleWith(first, [known]);
    assert.is(await ready(first), 2);
    const before = known.runs();
    await takeBackup(first, archive);

    // After the backup: more processes, another node, and one of the old processes replaced.
    await first.call("POST", "/v1/subscriptions/hi/scale", { body: { processes: 6 } });
    const later = await aRememberingAgent(calls, { name: "node-b", epoch });
    await settleWith(first, [known, later]);
    assert.is(await ready(first), 6);
    const running = { known: known.runs(), later: later.runs() };
    assert.ok(running.known.length > 2 || running.later.length > 0);

    const data = join(folder.path, "data");
    const nowMs = START + 60_000;
    const keys = { identities: [], passphrase: undefined };
    await restore({ file: archive, data, keys, nowMs, epoch: "epoch-restored" });
    await using second = await aController({
      file: join(data, "controller", "strata.db"),
      startMs: nowMs,
    });
    current = second;
    // Much longer than nodes are waited for, and than start deadlines.
    for (let minute = 0; minute < 20; minute += 1) {
      second.advance(60_000);
      second.settle();
      second.ticks.provision.tick();
      await known.work();
    }
    assert.equal(known.runs(), running.known);
    assert.equal(later.runs(), running.later);
    // A node that joined after the backup is not known, and goes on by itself.
    const poll = await second.call("GET", `/v1/nodes/${later.agent.nodeId}/assignments`, {
      token: later.agent.credential,
    });
    assert.is(poll.status, 401);

    const shown = (await second.call("GET", "/v1/epoch")).body;
    assert.is(shown.epoch, "epoch-restored");
    assert.is(shown.state, "restored");
    assert.equal(shown.nodesBehind, [known.agent.nodeId]);
    assert.equal(
      shown.unknownProcesses.map(({ processId }: ProcessReport) => processId).toSorted(),
      running.known.filter((id) => !before.includes(id)).toSorted(),
    );
    assert.equal(
      shown.unknownNodes.map(({ nodeId }: { nodeId: string }) => nodeId),
      [later.agent.nodeId],
    );
    const collected = await second.call("POST", "/v1/store/collect", { body: {} });
    assert.is(collected.body.code, "EPOCH_UNCONFIRMED", JSON.stringify(collected.body));
    const denied = await second.call("POST", "/v1/epoch/confirm", { token: "" });
    assert.is(denied.status, 401);
    assert.equal((await second.call("GET", "/v1/processes")).body.items.length, 2);

    // Confirmed, the normal rules hold: what is not known goes, what is known was never touched.
    assert.is((await second.call("POST", "/v1/epoch/confirm")).body.state, "confirmed");
    await settleWith(second, [known]);
    assert.equal(known.runs().toSorted(), before.toSorted());
    assert.is(known.epoch(), "epoch-restored");
    await second.call("POST", "/v1/subscriptions/hi/scale", { body: { processes: 1 } });
    second.advance(60_000);
    await settleWith(second, [known]);
    second.advance(600_000);
    await settleWith(second, [known]);
    assert.is(known.runs().length, 1);
    assert.equal((await second.call("GET", "/v1/epoch")).body.nodesBehind, []);
    const events = await second.call("GET", "/v1/events?type=epoch");
    assert.equal(
      events.body.items.map(({ type }: { type: string }) => type),
      ["epoch.confirmed"],
    );
  });

  test("takes over nodes that went by an epoch that only a lost database knew", async () => {
    await using folder = aTemporaryDirectory();
    const archive = join(folder.path, "backup.tar.zst");
    const keys = { identities: [], passphrase: undefined };
    await using first = await aController({ file: join(folder.path, "strata.db") });
    await prepare(first, 1);
    const calls: Pick<TestController, "call"> = { call: (...args) => current.call(...args) };
    let current: TestController = first;
    const node = await aRememberingAgent(calls, { name: "node-a", epoch: first.services.epoch });
    await settleWith(first, [node]);
    await takeBackup(first, archive);
    for (const epoch of ["second", "third"]) {
      // Each time on an empty machine: what the one before was confirmed as is known to its nodes alone.
      const data = join(folder.path, epoch);
      await restore({ file: archive, data, keys, nowMs: START, epoch });
      await using restored = await aController({
        file: join(data, "controller", "strata.db"),
        startMs: START,
      });
      current = restored;
      await settleWith(restored, [node]);
      await restored.call("POST", "/v1/epoch/confirm");
      await settleWith(restored, [node]);
      assert.is(node.epoch(), epoch);
      assert.is(node.runs().length, 1);
    }
  });

  test("shows the VMs that it does not know, and deletes them once it is confirmed", async () => {
    await using fleet = await aFleet({ restarts: true, processes: 4 });
    await fleet.until("all are running", async () => (await fleet.running()) === 4);
    const [vm = ""] = await fleet.cloudVms();
    const { store } = fleet.controller.services;
    const restored = { at: "2026-01-01T00:00:00Z", backupAt: "2026-01-01T00:00:00Z" };
    setMeta(store.sql, "restored", JSON.stringify({ ...restored, confirmedAt: null }));
    deleteVm(store.sql, vm);
    await fleet.restart();
    await fleet.pass(600);
    assert.ok((await fleet.cloudVms()).includes(vm));
    const { body } = await fleet.controller.call("GET", "/v1/epoch");
    assert.equal(
      body.unknownVms.map(({ id }: { id: string }) => id),
      [vm],
    );
    await fleet.controller.call("POST", "/v1/epoch/confirm");
    await fleet.until("it is gone", async () => !(await fleet.cloudVms()).includes(vm));
  });
});
