/** The whole program on a disk that it takes for full: which images it deletes. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";

import { formatJoinToken } from "@strata/protocol/agent/join-token";
import type { Assignment } from "@strata/protocol/agent/messages";
import { parseDigest } from "@strata/protocol/oci/digest";
import { mediaTypes } from "@strata/protocol/oci/media-type";

import { digestOf } from "../../support/registry-client.ts";
import { mustBecome } from "../../support/running-instance.ts";
import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { anAppImage, type AppImage } from "../image/an-app-image.ts";
import { aTar, dir, file } from "../layer/tar-builder.ts";
import { aController } from "../support/a-controller.ts";
import { anAgent } from "../support/an-agent.ts";
import { anAssignment } from "../support/an-assignment.ts";

/** Something that runs, and differs by one file. */
function aRunnableImage(name: string): AppImage {
  const busybox = readFileSync("/bin/busybox", "latin1");
  return anAppImage([
    aTar([dir("bin"), file("bin/busybox", busybox, { mode: 0o755 })]),
    aTar([file(name)]),
  ]);
}

/** Answers as a registry that has these in `app`. */
function serving(images: readonly AppImage[]) {
  const answers = new Map<string, { readonly type: string; readonly body: Buffer }>(
    images.flatMap(({ manifest, blobs }) => [
      [`/v2/app/manifests/${manifest.digest}`, { type: manifest.mediaType, body: manifest.bytes }],
      ...blobs.map(
        (body) =>
          [`/v2/app/blobs/${digestOf(body)}`, { type: mediaTypes.layerGzip, body }] as const,
      ),
    ]),
  );
  return (request: IncomingMessage, response: ServerResponse): boolean => {
    const answer = answers.get(request.url ?? "");
    if (answer === undefined) return false;
    response.writeHead(200, { "content-type": answer.type }).end(answer.body);
    return true;
  };
}

const running = (processId: string, { manifest }: AppImage): Assignment =>
  anAssignment("", {
    processId,
    spec: {
      image: { repository: "app", digest: parseDigest(manifest.digest) },
      command: ["/bin/busybox", "sleep", "600"],
      stopGraceMs: 0,
    },
  });

suite("an agent whose disk is too full", (test) => {
  test("deletes at its start what nothing runs, and nothing of what runs", async () => {
    await using folder = aTemporaryDirectory();
    const images = [aRunnableImage("one"), aRunnableImage("two")] as const;
    await using controller = await aController(undefined, serving(images));
    const environment = { STRATA_DISK_HIGH: "2", STRATA_DISK_LOW: "1", STRATA_LOG_LEVEL: "error" };
    await using agent = anAgent(folder.path, { environment });
    const token = agent.writeToken(
      formatJoinToken({ id: "t1", secret: controller.joinSecret, caFingerprint: "0".repeat(64) }),
    );
    const joined = await agent.run("join", "--controller", controller.url, "--token-file", token);
    assert.is(joined.code, 0, joined.output);

    const first = agent.start();
    controller.assign(running("web-1", images[0]), running("web-2", images[1]));
    const before = await controller.untilReport(
      ({ processes }) =>
        processes.length === 2 && processes.every(({ state }) => state === "running"),
    );
    controller.assign(running("web-1", images[0]));
    await controller.untilReport(({ processes }) => processes.length === 1);
    await first.kill("SIGTERM");

    const stored = join(agent.environment.STRATA_DATA ?? "", "agent/images");
    const recordOf = ({ manifest }: AppImage): string =>
      join(stored, "images", `${manifest.digest.replace(":", "-")}.json`);
    assert.ok(existsSync(recordOf(images[1])));
    const second = agent.start();
    await mustBecome("the image that nothing runs is gone", async () =>
      existsSync(recordOf(images[1])) ? undefined : true,
    );
    await mustBecome("only the layers of the other are left", async () =>
      readdirSync(join(stored, "layers/sha256")).length === 2 ? true : undefined,
    );
    assert.ok(existsSync(recordOf(images[0])));
    const reports = controller.reports.length;
    const after = await controller.untilReport(
      (report) => report.processes.length === 1 && controller.reports.indexOf(report) >= reports,
    );
    assert.is(
      after.processes[0]?.pid,
      before.processes.find((one) => one.processId === "web-1")?.pid,
    );
    controller.assign();
    await controller.untilReport(
      (report) => report.processes.length === 0 && controller.reports.indexOf(report) >= reports,
    );
    await second.kill("SIGTERM");
  });
});
