import { execFileSync } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

export type TestCertificates = {
  readonly caPem: string;
  readonly certPem: string;
  readonly keyPem: string;
  /** SHA-256 of the CA's DER, as a join token carries it. */
  readonly caFingerprint: string;
};

/** A CA and a server certificate for the controller's name, made by openssl. */
export function someCertificates(folder: string): TestCertificates {
  const openssl = (...args: readonly string[]): void => {
    execFileSync("openssl", [...args], { cwd: folder, stdio: "ignore" });
  };
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  openssl(
    "req",
    "-x509",
    ...key,
    "-days",
    "2",
    "-subj",
    "/CN=Test CA",
    "-keyout",
    "ca.key",
    "-out",
    "ca.pem",
  );
  const signed = "-CA ca.pem -CAkey ca.key -keyout server.key -out server.pem".split(" ");
  const name = "subjectAltName=DNS:controller.strata.internal";
  const leaf = ["-addext", name, "-addext", "basicConstraints=critical,CA:FALSE"];
  openssl("req", "-x509", ...key, "-days", "2", "-subj", "/CN=controller", ...leaf, ...signed);
  const read = (name: string): string => readFileSync(join(folder, name), "utf8");
  const caPem = read("ca.pem");
  return {
    caPem,
    certPem: read("server.pem"),
    keyPem: read("server.key"),
    caFingerprint: createHash("sha256").update(new X509Certificate(caPem).raw).digest("hex"),
  };
}
