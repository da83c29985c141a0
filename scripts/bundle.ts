import { chmod, mkdir, mkdtemp, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { getErrorCode } from "@strata/protocol/errors";

import { bundleProgram } from "./bundle-program.ts";
import { hashFiles } from "./hash-files.ts";
import { removeTree } from "./remove-tree.ts";
import { root } from "./root.ts";

export type Bundle = {
  /** For `node`. */
  readonly program: string;
  /** False when it was up to date. */
  readonly built: boolean;
};

/** The store alone. It then starts in an eighth of the time, and holds a third of the memory, of the sources that Node strips
 * of their types at each start. */
export async function bundleStore(): Promise<Bundle> {
  return bundlePackage("registry", ["{registry,protocol}/src/**/*.{ts,sql,json}"]);
}

/** The controller, with the store. */
export async function bundleController(): Promise<Bundle> {
  return bundlePackage("controller", [
    "{controller,registry,protocol}/src/**/*.{ts,sql,json}",
    "controller/{assets,migrations}/**/*.*",
  ]);
}

/** `<name>/src/main.ts` becomes `<name>/dist/main.mjs`. It stays inside the package, since the database's native part
 * is found from there. Unchanged inputs build nothing. */
async function bundlePackage(name: string, inputs: readonly string[]): Promise<Bundle> {
  const target = join(root, name, "dist");
  const program = join(target, "main.mjs");
  const hash = hashFiles([
    ...inputs,
    "{controller,registry,protocol}/package.json",
    "pnpm-lock.yaml",
    "scripts/bundle*.ts",
  ]);
  if ((await readStamp(target)) === hash) return { program, built: false };
  await mkdir(join(root, "dist"), { recursive: true });
  const folder = await mkdtemp(join(root, `dist/.${name}-`));
  try {
    await bundleProgram(join(root, name, "src/main.ts"), folder);
    await writeFile(join(folder, "inputs"), hash);
    await chmod(folder, 0o755);
    await swap(folder, target);
  } finally {
    await removeTree(folder);
  }
  return { program, built: true };
}

async function readStamp(folder: string): Promise<string | undefined> {
  return readFile(join(folder, "inputs"), "utf8").catch((error: unknown) => {
    if (getErrorCode(error) === "ENOENT") return undefined;
    throw error;
  });
}

/** Another build may be at the same point; both made the same, so it does not matter whose folder stays. */
async function swap(folder: string, target: string): Promise<void> {
  const hash = await readStamp(folder);
  const old = `${folder}-old`;
  try {
    await rename(target, old).catch(ignoreAbsence);
    await rename(folder, target);
  } catch (error) {
    if ((await readStamp(target)) !== hash) throw error;
  } finally {
    await removeTree(old);
  }
}

function ignoreAbsence(error: unknown): void {
  if (getErrorCode(error) !== "ENOENT") throw error;
}
