import { cp, readFile, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";

import { build, type OutputFile, type Plugin } from "esbuild";

import { root } from "./root.ts";

/** A file or folder beside a source, named by where it is from there: `new URL("./x.ts", import.meta.url)`. */
const FILE_BESIDE = /new URL\(\s*"(\.[^"]+)",\s*import\.meta\.url\s*\)/g;
/** Workers may start workers, but not for ever. */
const ROUNDS_MAX = 5;

/** Puts a program and all that it imports into one folder: `entry.ts` becomes `entry.mjs`. So does each worker that it starts;
 * other files that it reads are copied. The database's native part cannot be bundled: the folder has to be where Node
 * finds `better-sqlite3` from. @throws Error of esbuild, which names the source */
export async function bundleProgram(entry: string, folder: string): Promise<void> {
  const beside: Beside = { files: new Map(), workers: new Set() };
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    const known = beside.workers.size;
    const outputs = await buildAll([entry, ...[...beside.workers].toSorted()], folder, beside);
    // Now they are entries of their own, and share what they import with the others.
    if (beside.workers.size > known) continue;
    for (const { path, contents } of outputs) await writeFile(path, contents);
    for (const [path, name] of beside.files)
      await cp(path, join(folder, name), { recursive: true });
    return;
  }
  throw new Error(`${entry} starts workers that start workers, ${ROUNDS_MAX} deep`);
}

/** What sources find by where they are. */
type Beside = {
  /** By path, what they are called in the bundle's folder. */
  readonly files: Map<string, string>;
  readonly workers: Set<string>;
};

async function buildAll(
  entryPoints: readonly string[],
  outdir: string,
  beside: Beside,
): Promise<readonly OutputFile[]> {
  const { outputFiles } = await build({
    entryPoints: [...entryPoints],
    entryNames: "[name]",
    outdir,
    write: false,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node26",
    // What is imported only when it is asked for stays a file of its own, and costs nothing until then.
    splitting: true,
    external: ["better-sqlite3"],
    legalComments: "none",
    logLevel: "silent",
    // Some dependencies are CommonJS and call require for what the runtime has built in.
    banner: {
      js: `import{createRequire}from"node:module";const require=createRequire(import.meta.url);`,
    },
    outExtension: { ".js": ".mjs" },
    plugins: [createFinder(beside)],
  });
  return outputFiles;
}

/** Everything of a bundle is in one folder; what sources say of where things are becomes so too. */
function createFinder({ files, workers }: Beside): Plugin {
  const nameOf = (path: string): string => {
    if (path.endsWith(".ts")) {
      workers.add(path);
      return `${basename(path, ".ts")}.mjs`;
    }
    const name = relative(root, path).replaceAll("/", "-");
    files.set(path, name);
    return name;
  };
  return {
    name: "files-beside",
    setup: (esbuild) => {
      esbuild.onLoad({ filter: /\/src\/.*\.ts$/ }, async ({ path }) => {
        const text = await readFile(path, "utf8");
        const contents = text.replaceAll(FILE_BESIDE, (_, place: string) => {
          const name = nameOf(resolve(dirname(path), place));
          return `new URL("./${name}${place.endsWith("/") ? "/" : ""}", import.meta.url)`;
        });
        return { loader: "ts", contents };
      });
    },
  };
}
