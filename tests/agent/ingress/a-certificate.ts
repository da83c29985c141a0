import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** A certificate that signs itself, for one host, with its key behind it. */
export function aCertificate(folder: string, host: string): string {
  const [key, certificate] = [join(folder, `${host}.key`), join(folder, `${host}.crt`)];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  const names = ["-subj", `/CN=${host}`, "-addext", `subjectAltName=DNS:${host}`];
  const files = ["-keyout", key, "-out", certificate];
  execFileSync("openssl", ["req", "-x509", ...curve, "-days", "2", ...names, ...files], {
    stdio: "ignore",
  });
  return readFileSync(certificate, "utf8") + readFileSync(key, "utf8");
}
