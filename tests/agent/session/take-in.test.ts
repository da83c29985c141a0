import { join } from "node:path";

import type { DesiredState } from "@strata/agent/accept-assignments";
import type { ControllerClient } from "@strata/agent/controller-client";
import { createLogger } from "@strata/agent/logger";
import { Session } from "@strata/agent/session";
import type { Assignments } from "@strata/protocol/agent/messages";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { anAssignment } from "../support/an-assignment.ts";

const nothing: DesiredState = { version: 1, epoch: "epoch-1", revision: 0, assignments: [] };
const message: Assignments = {
  epoch: "epoch-1",
  revision: 7,
  assignments: [anAssignment("exec sleep 600")],
  streams: [],
};

type TestSession = AsyncDisposable & {
  /** Revisions that were asked about. */
  readonly polled: readonly number[];
  /** Resolves when the session asks for something newer than the message. */
  readonly takenIn: Promise<void>;
};

/** A session with a controller that has one message to say. */
function aSession(options: {
  readonly desiredPath: string;
  readonly onDesired: (desired: DesiredState) => void;
}): TestSession {
  const polled: number[] = [];
  const takenIn = Promise.withResolvers<void>();
  const client: ControllerClient = {
    poll: async (revision, { signal }) => {
      polled.push(revision);
      if (revision !== message.revision) return message;
      takenIn.resolve();
      return await new Promise((_, reject) => signal.addEventListener("abort", reject));
    },
    report: async (report) => ({ epoch: report.epoch, beatIntervalMs: 5000 }),
    openStream: () => Promise.reject(new Error("nobody asked for a stream")),
  };
  const session = new Session({
    client,
    logger: createLogger("silent"),
    random: () => 0,
    agentVersion: "0.0.0",
    bootId: "boot-1",
    beatIntervalMs: 5000,
    desired: nothing,
    onStream: () => undefined,
    describeProcesses: () => [],
    ...options,
  });
  const done = session.run();
  return {
    polled,
    takenIn: takenIn.promise,
    [Symbol.asyncDispose]: async () => {
      session.close();
      await done;
    },
  };
}

suite("taking assignments in", (test) => {
  test("acts on them when they cannot be written down, as on a full disk", async () => {
    await using folder = aTemporaryDirectory();
    const acted: number[] = [];
    await using session = aSession({
      desiredPath: join(folder.path, "no", "such", "folder"),
      onDesired: ({ revision }) => acted.push(revision),
    });
    await session.takenIn;
    assert.equal(acted, [7]);
  });

  test("asks again for those that it could not act on", async () => {
    await using folder = aTemporaryDirectory();
    let attempts = 0;
    await using session = aSession({
      desiredPath: join(folder.path, "desired.json"),
      onDesired: () => {
        attempts += 1;
        if (attempts === 1) throw new Error("not now");
      },
    });
    await session.takenIn;
    assert.is(attempts, 2);
    assert.equal(session.polled, [0, 0, 7]);
  });
});
