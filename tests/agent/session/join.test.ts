import { statSync } from "node:fs";
import { join } from "node:path";

import { formatJoinToken } from "@strata/protocol/agent/join-token";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { aController } from "../support/a-controller.ts";
import { anAgent, readAgentFile } from "../support/an-agent.ts";
import { someCertificates } from "../support/certificates.ts";

suite("join", (test) => {
  test("trusts the CA that the token names, and keeps its identity for root alone", async () => {
    await using folder = aTemporaryDirectory();
    const certificates = someCertificates(folder.path);
    await using controller = await aController(certificates);
    await using agent = anAgent(folder.path);
    const token = agent.writeToken(
      formatJoinToken({
        id: "t1",
        secret: controller.joinSecret,
        caFingerprint: certificates.caFingerprint,
      }),
    );
    const wish = ["--controller", controller.url, "--token-file", token, "--name", "vm-7"];
    const { code, output } = await agent.run("join", ...wish, "--labels", "zone=a,disk=ssd");
    assert.is(code, 0, output);
    assert.equal(controller.joins[0]?.labels, { zone: "a", disk: "ssd" });
    assert.is(controller.joins[0]?.name, "vm-7");
    assert.is(controller.joins[0]?.address, "127.0.0.1");
    const path = join(agent.environment.STRATA_DATA ?? "", "agent/identity.json");
    assert.is(statSync(path).mode & 0o777, 0o600);
    const again = await agent.run("join", ...wish);
    assert.match(again.output, /already node vm-7/);
    assert.is(controller.joins.length, 1);
  });

  test("sends no token to a controller whose CA is another", async () => {
    await using folder = aTemporaryDirectory();
    await using controller = await aController(someCertificates(folder.path));
    await using agent = anAgent(folder.path);
    const token = agent.writeToken(
      formatJoinToken({ id: "t1", secret: controller.joinSecret, caFingerprint: "0".repeat(64) }),
    );
    const { code, output } = await agent.run(
      "join",
      "--controller",
      controller.url,
      "--token-file",
      token,
    );
    assert.is(code, 1);
    assert.match(output, /CONTROLLER_UNTRUSTED/);
    assert.not.ok(output.includes(controller.joinSecret));
    assert.is(controller.joins.length, 0);
    assert.is(readAgentFile(agent, "identity.json"), undefined);
  });

  test("says what to do when the token is refused, malformed or missing", async () => {
    await using folder = aTemporaryDirectory();
    await using controller = await aController();
    await using agent = anAgent(folder.path);
    const url = ["--controller", controller.url];
    const wrong = agent.writeToken(
      formatJoinToken({ id: "t1", secret: "x".repeat(30), caFingerprint: "0".repeat(64) }),
    );
    const refused = await agent.run("join", ...url, "--token-file", wrong);
    assert.match(refused.output, /JOIN_REFUSED[\s\S]*hint: .*POST \/v1\/join-tokens/);
    const malformed = await agent.run("join", ...url, "--token-file", agent.writeToken("strata.x"));
    assert.match(malformed.output, /the join token is malformed/);
    const missing = await agent.run("join", ...url);
    assert.match(missing.output, /NOT_JOINED/);
  });

  test("talks in the clear to the machine itself only", async () => {
    await using folder = aTemporaryDirectory();
    await using agent = anAgent(folder.path);
    const token = agent.writeToken(
      formatJoinToken({ id: "t1", secret: "x".repeat(30), caFingerprint: "0".repeat(64) }),
    );
    const { output } = await agent.run(
      "join",
      "--controller",
      "http://192.0.2.1:7070",
      "--token-file",
      token,
    );
    assert.match(output, /CONTROLLER_UNTRUSTED[\s\S]*use https/);
  });
});
