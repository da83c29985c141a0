/** A base layer of Debian packages, made by mmdebstrap, which resolves, installs and cleans up reproducibly. */
import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";

import { CliError } from "../errors.ts";
import type { DebianBase } from "./recipe.ts";
import { runTool, type RunningTool, startTool } from "./tool.ts";

/** Where packages come from: an apt line each, and what changes when the archive does. */
export type DebianSource = {
  readonly suite: string;
  readonly lines: readonly string[];
  readonly state: string;
};

const toolPackage = "mmdebstrap";
/** Nobody reads them in a container, and they are a quarter of the bytes. Folders stay: alternatives put links there. */
const leftOut = [
  "/usr/share/man/*/*",
  "/usr/share/doc/*/*",
  "/usr/share/info/*",
  "/usr/share/locale/*/*",
];
const kept = ["/usr/share/doc/*/copyright"];

/** The sources of this machine for a release, or those of `mirror`. Asks apt, so that every form of its
 * configuration counts. */
export async function findDebianSource(base: DebianBase): Promise<DebianSource> {
  const suite = base.suite ?? (await hostSuite());
  if (base.mirror !== undefined) {
    return { suite, lines: [`deb ${base.mirror} ${suite} main`], state: "" };
  }
  const format = "$(ORIGIN)|$(CODENAME)|$(REPO_URI)|$(COMPONENT)|$(FILENAME)";
  const args = ["indextargets", "--format", format, "Created-By: Packages"];
  const targets = (await runTool({ command: "apt-get", args, package: "apt" }))
    .split("\n")
    .map((line) => line.split("|"))
    .filter(([origin, codename]) => origin === "Debian" && codename?.split("-")[0] === suite);
  // A machine that has thrown its lists away: mmdebstrap knows the public archive, security updates included.
  if (targets.length === 0) return { suite, lines: [], state: "" };
  const lines = targets.map(
    ([, codename, uri, component]) => `deb ${uri} ${codename} ${component}`,
  );
  const states = await Promise.all(targets.map(([, , , , file]) => stateOf(file ?? "")));
  return { suite, lines: [...new Set(lines)].toSorted(), state: states.toSorted().join("\n") };
}

/** Two builds with the same key give the same layer, unless the mirror changed behind apt's back. */
export function debianKey(base: DebianBase, source: DebianSource, epochSeconds: number): string {
  const parts = [base.packages.toSorted(), source, leftOut, kept, epochSeconds, process.arch, "v1"];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}

/** Starts the installation; its output is the archive. */
export function startDebian(
  base: DebianBase,
  source: DebianSource,
  options: { readonly epochSeconds: number; readonly onLine: (line: string) => void },
): RunningTool {
  const dpkgOptions = [
    "force-unsafe-io",
    ...leftOut.map((path) => `path-exclude=${path}`),
    ...kept.map((path) => `path-include=${path}`),
  ];
  return startTool({
    command: "mmdebstrap",
    package: toolPackage,
    args: [
      "--variant=essential",
      "--format=tar",
      ...(base.packages.length === 0 ? [] : [`--include=${base.packages.toSorted().join(",")}`]),
      ...dpkgOptions.map((option) => `--dpkgopt=${option}`),
      // A container gets its own devices, and these two say something about the machine that builds.
      "--skip=output/dev",
      `--customize-hook=rm -f "$1/etc/resolv.conf" "$1/etc/hostname"`,
      source.suite,
      "-",
      ...source.lines,
    ],
    env: { SOURCE_DATE_EPOCH: String(options.epochSeconds) },
    onLine: options.onLine,
  });
}

async function hostSuite(): Promise<string> {
  const release = await readFile("/etc/os-release", "utf8").catch(() => "");
  const id = /^ID=(.*)$/m.exec(release)?.[1];
  const codename = /^VERSION_CODENAME=([a-z]+)$/m.exec(release)?.[1];
  if (id === "debian" && codename !== undefined) return codename;
  throw new CliError("SOURCE_INVALID", "this machine does not say which Debian release it is", {
    hint: "add base.debian.suite to the recipe, for example bookworm",
  });
}

async function stateOf(file: string): Promise<string> {
  const stats = await stat(file).catch(() => undefined);
  return stats === undefined ? file : `${file} ${stats.size} ${stats.mtimeMs}`;
}
