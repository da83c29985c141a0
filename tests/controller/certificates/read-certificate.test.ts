import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { ensureIngressAuthority, type Signer } from "@strata/controller/pki/authority";
import { issueHostCertificate } from "@strata/controller/pki/host-certificate";
import { readCertificate } from "@strata/controller/pki/read-certificate";

import { assert, suite, throwsWithCode } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

const nowMs = Date.parse("2026-06-01T00:00:00Z");
const hosts = ["www.example.com", "*.example.com"];

async function anAuthority(): Promise<Signer> {
  await using folder = aTemporaryDirectory();
  return await ensureIngressAuthority(folder.path, nowMs);
}

suite("a certificate that somebody gives", (test) => {
  test("is read with its chain, its key in one form, and what it says of itself", async () => {
    const authority = await anAuthority();
    const { chain, key } = await issueHostCertificate(authority, { hosts, nowMs });
    const text = `a comment\n${chain}\n\r\n${authority.certificatePem}`;
    const read = readCertificate({ chain: text, key }, nowMs);
    assert.equal(read.facts.names, hosts);
    assert.is(read.facts.issuer, "CN=Strata ingress CA");
    assert.is(read.facts.notAfter, "2026-08-30T00:00:00.000Z");
    assert.is(read.chain.match(/BEGIN CERTIFICATE/g)?.length, 2);
    assert.not.match(read.chain, /comment/);
    assert.match(read.key, /^-----BEGIN PRIVATE KEY-----/);
  });

  test("may have a key of RSA, as openssl writes it", async () => {
    await using folder = aTemporaryDirectory();
    const [key, chain] = [join(folder.path, "key.pem"), join(folder.path, "chain.pem")];
    const subject = [
      "-subj",
      "/CN=x",
      "-addext",
      "subjectAltName=DNS:RSA.Example.com,IP:192.0.2.1",
    ];
    const files = ["-keyout", key, "-out", chain];
    const options = { stdio: "ignore" } as const;
    execFileSync(
      "openssl",
      ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3", ...subject, ...files],
      options,
    );
    const text = { chain: readFileSync(chain, "utf8"), key: readFileSync(key, "utf8") };
    assert.equal(readCertificate(text, Date.now()).facts.names, ["rsa.example.com"]);
    execFileSync("openssl", ["rsa", "-traditional", "-in", key, "-out", key], options);
    const old = readFileSync(key, "utf8");
    assert.match(old, /BEGIN RSA PRIVATE KEY/);
    assert.is(readCertificate({ ...text, key: old }, Date.now()).facts.names.length, 1);
  });

  test("is refused when something does not fit", async () => {
    const authority = await anAuthority();
    const { chain, key } = await issueHostCertificate(authority, { hosts, nowMs });
    const other = await issueHostCertificate(authority, { hosts: ["other.example"], nowMs });
    const refused = (text: { chain: string; key: string }, at = nowMs): string =>
      throwsWithCode(() => readCertificate(text, at), "CERTIFICATE_INVALID").message;
    assert.match(refused({ chain, key: other.key }), /not that of the first certificate/);
    assert.match(refused({ chain: authority.certificatePem + chain, key }), /not signed by/);
    assert.match(refused({ chain: chain + other.chain, key }), /not signed by the one after/);
    assert.match(refused({ chain: "", key }), /no certificate/);
    assert.match(refused({ chain: chain.repeat(11), key }), /11 certificates/);
    assert.match(refused({ chain: chain.replace(/M/g, "N"), key }), /cannot be read/);
    assert.match(refused({ chain, key: "none" }), /key cannot be read/);
    assert.match(refused({ chain, key }, nowMs + 91 * 86_400_000), /ended at/);
    const sealed = generateKeyPairSync("ec", {
      namedCurve: "P-256",
      publicKeyEncoding: { type: "spki", format: "pem" },
      privateKeyEncoding: { type: "pkcs8", format: "pem", cipher: "aes256", passphrase: "x" },
    });
    assert.match(refused({ chain, key: sealed.privateKey }), /key cannot be read/);
  });

  test("is refused when browsers do not take its kind of key", async () => {
    await using folder = aTemporaryDirectory();
    const [key, chain] = [join(folder.path, "key.pem"), join(folder.path, "chain.pem")];
    const files = [
      "-keyout",
      key,
      "-out",
      chain,
      "-subj",
      "/CN=x",
      "-addext",
      "subjectAltName=DNS:x",
    ];
    const make = (kind: readonly string[]): { chain: string; key: string } => {
      execFileSync("openssl", ["req", "-x509", "-nodes", "-days", "3", ...kind, ...files], {
        stdio: "ignore",
      });
      return { chain: readFileSync(chain, "utf8"), key: readFileSync(key, "utf8") };
    };
    for (const kind of [
      ["-newkey", "rsa:1024"],
      ["-newkey", "ed25519"],
    ])
      throwsWithCode(() => readCertificate(make(kind), Date.now()), "CERTIFICATE_INVALID");
  });
});
