/** `pnpm build [--arch amd64|arm64]…`: makes controller and store one bundle each, controller/dist/main.mjs and
 * registry/dist/main.mjs, and the agent one executable file, dist/strata-agent-linux-ARCH, from npm packages alone. For the
 * agent esbuild bundles first, because bun would swap undici for a lookalike of its own; bun then adds its runtime. The same inputs give the same bytes; unchanged inputs build nothing. */
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync } from "node:fs";
import { stat, writeFile } from "node:fs/promises";
import { basename, join, relative } from "node:path";
import { parseArgs, promisify } from "node:util";

import { type Bundle, bundleController, bundleStore } from "./bundle.ts";
import { hashFiles } from "./hash-files.ts";
import { removeTree } from "./remove-tree.ts";
import { root } from "./root.ts";

type Architecture = "amd64" | "arm64";

const run = promisify(execFile);
const dist = join(root, "dist");
const binaries = join(root, "agent/node_modules/.bin");
const hostArchitecture: Architecture = process.arch === "arm64" ? "arm64" : "amd64";

/** All that the result depends on: our sources, this script and the locked versions. */
const inputPatterns: readonly string[] = [
  "agent/src/**/*.ts",
  "protocol/src/**/*.ts",
  "agent/package.json",
  "protocol/package.json",
  "pnpm-lock.yaml",
  "scripts/build.ts",
];

const { values } = parseArgs({ options: { arch: { type: "string", multiple: true } } });
for (const bundle of [bundleController, bundleStore]) await buildBundle(bundle).catch(report);
for (const name of values.arch ?? [hostArchitecture]) {
  await build(requireArchitecture(name)).catch(report);
}

/** The tools explain themselves on stderr; our stack trace would bury it. */
function report(error: unknown): void {
  const said = error instanceof Error && "stderr" in error ? String(error.stderr) : "";
  console.error(`build: ${said === "" ? String(error) : said.trim()}`);
  process.exitCode = 1;
}

function requireArchitecture(name: string): Architecture {
  if (name === "amd64" || name === "arm64") return name;
  console.error(`build: no architecture ${name}: use --arch amd64 or --arch arm64`);
  process.exit(2);
}

async function buildBundle(bundle: () => Promise<Bundle>): Promise<void> {
  const startedAt = performance.now();
  const { program, built } = await bundle();
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(`build: ${relative(root, program)} ${built ? `in ${seconds} s` : "is up to date"}`);
}

async function build(architecture: Architecture): Promise<void> {
  const target = join(dist, `strata-agent-linux-${architecture}`);
  const stamp = `${target}.inputs`;
  const inputs = hashFiles(inputPatterns);
  const shown = relative(root, target);
  if (existsSync(target) && existsSync(stamp) && readFileSync(stamp, "utf8") === inputs) {
    console.log(`build: ${shown} is up to date`);
    return;
  }
  const startedAt = performance.now();
  mkdirSync(dist, { recursive: true });
  // A folder of its own, then a rename: a build beside this one, or a reader, never sees half a file.
  const folder = mkdtempSync(join(dist, ".build-"));
  try {
    const made = await compile(folder, basename(target), architecture);
    renameSync(made, target);
    await writeFile(stamp, inputs);
  } finally {
    await removeTree(folder);
  }
  const mebibytes = Math.round((await stat(target)).size / 1024 ** 2);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(`build: ${shown}, ${mebibytes} MiB, in ${seconds} s`);
}

/** Bundles and compiles in `folder`; gives the path of the executable. Both tools see relative names only, so that
 * the folder's name does not get into the bytes. */
async function compile(folder: string, name: string, architecture: Architecture): Promise<string> {
  await run(
    join(binaries, "esbuild"),
    [
      join(root, "agent/src/main.ts"),
      "--bundle",
      // A subcommand reads its own code alone: unpackers start in a third of the time.
      "--splitting",
      "--platform=node",
      "--format=esm",
      "--target=node22",
      "--legal-comments=none",
      "--log-level=warning",
      // Some dependencies are CommonJS and call require for what the runtime has built in.
      `--banner:js=import{createRequire}from"node:module";const require=createRequire(import.meta.url);`,
      // Dead code of a dependency asks for its own place; bun would write this machine's path there.
      `--define:__dirname="/"`,
      `--define:__filename="/agent.mjs"`,
      "--outdir=.",
      "--out-extension:.js=.mjs",
    ],
    { cwd: folder },
  );
  const flags = [
    "--compile",
    "--splitting",
    "--minify",
    // The agent runs as root, wherever it was started: a file that lies there must not configure it.
    "--no-compile-autoload-dotenv",
    "--no-compile-autoload-bunfig",
    ...(architecture === hostArchitecture
      ? []
      : [
          `--target=bun-linux-${architecture === "arm64" ? "arm64" : "x64"}`,
          `--compile-executable-path=${await fetchBun(architecture)}`,
        ]),
  ];
  await run(join(binaries, "bun"), ["build", ...flags, "main.mjs", "--outfile", name], {
    cwd: folder,
  });
  return join(folder, name);
}

/** The runtime for an architecture that is not this machine's, from npm. */
async function fetchBun(architecture: Architecture): Promise<string> {
  const { stdout } = await run(join(binaries, "bun"), ["--version"]);
  const version = stdout.trim();
  const cpu = architecture === "arm64" ? "aarch64" : "x64";
  const prefix = join(root, ".tools", `bun-${version}-${cpu}`);
  const executable = join(prefix, `node_modules/@oven/bun-linux-${cpu}/bin/bun`);
  if (!existsSync(executable)) {
    // npm refuses a package for another processor unless forced.
    const flags = ["--no-save", "--no-audit", "--no-fund", "--force"];
    await run("npm", [
      "install",
      "--prefix",
      prefix,
      ...flags,
      `@oven/bun-linux-${cpu}@${version}`,
    ]);
  }
  return executable;
}
