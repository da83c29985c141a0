import { execFile } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { statSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

import { ensureAuthority } from "@strata/controller/pki/authority";
import { ensureServerCertificate } from "@strata/controller/pki/server-certificate";
import { CONTROLLER_SERVER_NAME, parseJoinToken } from "@strata/protocol/agent/join-token";
import { Agent, request } from "undici";

import { aControllerProcess } from "../support/controller-process.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const run = promisify(execFile);
const DAY_MS = 86_400_000;
const nowMs = Date.parse("2026-06-01T00:00:00Z");
const names = [CONTROLLER_SERVER_NAME, "localhost", "127.0.0.1", "::1", "fd00::5", "192.0.2.7"];

suite("the controller's certificates", (test) => {
  test("the CA is made once, for its owner alone, and signs what openssl accepts for every name", async () => {
    await using folder = aTemporaryDirectory();
    const directory = folder.path;
    const authority = await ensureAuthority(directory, nowMs);
    assert.is(
      (await ensureAuthority(directory, nowMs + DAY_MS)).fingerprint,
      authority.fingerprint,
    );
    await ensureServerCertificate({ directory, authority, names, nowMs });
    for (const file of ["ca.pem", "server.pem"])
      assert.is(statSync(join(directory, file)).mode & 0o777, 0o600);
    for (const name of names) {
      const { stdout } = await run("openssl", [
        "verify",
        "-x509_strict",
        "-attime",
        String(nowMs / 1000),
        "-purpose",
        "sslserver",
        /^[\d.:]+$|::/.test(name) ? "-verify_ip" : "-verify_hostname",
        name,
        "-CAfile",
        join(directory, "ca.pem"),
        join(directory, "server.pem"),
      ]);
      assert.match(stdout, /OK/);
    }
  });

  test("the server's is kept while it is good, and renewed with the same key when its time or its names go", async () => {
    await using folder = aTemporaryDirectory();
    const directory = folder.path;
    const authority = await ensureAuthority(directory, nowMs);
    const at = async (ms: number, wanted = names): ReturnType<typeof ensureServerCertificate> =>
      ensureServerCertificate({ directory, authority, names: wanted, nowMs: ms });
    const first = await at(nowMs);
    assert.is((await at(nowMs + 59 * DAY_MS)).chainPem, first.chainPem);
    const renewed = await at(nowMs + 61 * DAY_MS);
    assert.is.not(renewed.chainPem, first.chainPem);
    assert.is(renewed.publicKeyPin, first.publicKeyPin);
    const moved = await at(nowMs + 61 * DAY_MS, [...names, "203.0.113.9"]);
    assert.match(new X509Certificate(moved.chainPem).subjectAltName ?? "", /203\.0\.113\.9/);
    await using another = aTemporaryDirectory();
    const stranger = await ensureAuthority(another.path, nowMs);
    const signed = await ensureServerCertificate({ directory, authority: stranger, names, nowMs });
    assert.ok(
      new X509Certificate(signed.chainPem).verify(
        new X509Certificate(stranger.certificatePem).publicKey,
      ),
    );
  });

  test("an agent's way: the CA by the token's fingerprint, then nothing but that CA", async () => {
    await using controller = await aControllerProcess();
    await controller.call("PUT", "/v1/partitions/web", { body: {} });
    const made = await controller.call("POST", "/v1/join-tokens", { body: { partition: "web" } });
    const { caFingerprint } = parseJoinToken(made.body.token);
    const { body: caPem } = await controller.call("GET", "/ca.pem", { token: "" });
    assert.is(
      createHash("sha256").update(new X509Certificate(caPem).raw).digest("hex"),
      caFingerprint,
    );
    assert.is(await health(controller.port, caPem), "ok\n");
    await using folder = aTemporaryDirectory();
    const { certificatePem } = await ensureAuthority(folder.path, nowMs);
    const refused = await health(controller.port, certificatePem).catch((error: unknown) => error);
    assert.ok(refused instanceof Error);
  });

  test("the printed line fetches the script only from the server whose key it names", async () => {
    await using controller = await aControllerProcess({
      environment: { STRATA_ADVERTISE: "127.0.0.1" },
    });
    await controller.call("PUT", "/v1/partitions/web", { body: {} });
    const made = await controller.call("POST", "/v1/join-tokens", { body: { partition: "web" } });
    const [fetching = ""] = String(made.body.command).split(" | ");
    const { stdout } = await run("sh", ["-c", fetching]);
    assert.match(stdout, /^#!\/bin\/sh/);
    assert.ok(stdout.includes(`https://127.0.0.1:${controller.port}`));
    const forged = fetching.replace(/sha256\/\/.{4}/, "sha256//AAAA");
    const error = await run("sh", ["-c", forged]).catch((caught: unknown) => caught);
    assert.match(String(error), /does not match pinned public key/);
  });
});

/** What /healthz says to somebody who trusts this CA alone. */
async function health(port: number, ca: string): Promise<string> {
  const dispatcher = new Agent({ connect: { ca, servername: CONTROLLER_SERVER_NAME } });
  try {
    const answer = await request(`https://127.0.0.1:${port}/healthz`, { dispatcher });
    return await answer.body.text();
  } finally {
    await dispatcher.close();
  }
}
