/** `node scripts/tidy.ts [PATH…]`: prints what is untidy under the paths [the whole tree]; exit status 1 when anything is. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { root } from "./root.ts";
import { tidyFile } from "./tidy/rules.ts";

const FILE_BYTES_MAX = 4 * 1024 * 1024;

const findings = listFiles(process.argv.slice(2)).flatMap((path) => {
  const text = readText(join(root, path));
  return text === undefined
    ? []
    : tidyFile({ path, text }, { exists: (other) => existsSync(join(root, other)) });
});
for (const { path, line, rule, message } of findings) {
  console.log(`${path}:${line}: ${rule}: ${message}`);
}
process.exitCode = findings.length === 0 ? 0 : 1;

/** Files that git has or would add. Generated ones are the business of what generates them. */
function listFiles(paths: readonly string[]): readonly string[] {
  const output = execFileSync(
    "git",
    ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ...paths],
    { cwd: root, encoding: "utf8", maxBuffer: 16 * 1024 * 1024 },
  );
  return output
    .split("\0")
    .filter((path) => path !== "" && !/(^|\/)(pnpm-lock\.yaml|migrations\/)/.test(path));
}

/** Undefined for what is no text, and for a file deleted but not yet committed. */
function readText(path: string): string | undefined {
  if (!existsSync(path)) return undefined;
  const bytes = readFileSync(path);
  return bytes.length > FILE_BYTES_MAX || bytes.includes(0) ? undefined : bytes.toString("utf8");
}
