/** From a folder or tarball to an OCI image layout. The same source gives the same digest. */
import { readFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";

import { getErrorCode } from "@strata/protocol/coded-error";
import type { Digest } from "@strata/protocol/oci/digest";
import { mediaTypes } from "@strata/protocol/oci/media-type";
import { isRepository, parseReference } from "@strata/protocol/oci/reference";

import { CliError } from "../errors.ts";
import { listFolders, openArchive } from "./archive.ts";
import { addDebianBase, addRootfsBase, skippedWarning } from "./base.ts";
import type { Entry } from "./entry.ts";
import { collectFiles, skeleton } from "./files.ts";
import { type BuiltLayer, imageConfig, imageManifest } from "./image.ts";
import { packEntries, writeLayer } from "./layer.ts";
import { blobPath, blobsOf, finishLayout, startLayout, writeDocument } from "./layout.ts";
import type { BuildOptions } from "./options.ts";
import { parseRecipe, type Recipe, recipeOf } from "./recipe.ts";
import { findRootfs, type Rootfs } from "./rootfs.ts";
import { runLines } from "./run.ts";
import { scratchBeside } from "./scratch.ts";

export type BuiltImage = {
  readonly repository: string;
  readonly tag: string;
  readonly digest: Digest;
  /** Of all blobs, as they are stored. */
  readonly size: number;
  readonly layers: number;
};

/** What a build starts from, looked up and checked, before anything is made. */
export type Source = {
  readonly folder: string;
  readonly recipe: Recipe;
  /** A root file system that is there; undefined when the base is Debian packages or nothing. */
  readonly rootfs: Rootfs | undefined;
  readonly repository: string;
  readonly tag: string;
};

/** @param path A folder with `cartridge.yaml`, a root file system as folder or tarball, or an image for LXC.
 * @param name `repository[:tag]`; left out, the recipe's.
 * @throws CliError SOURCE_INVALID */
export async function openSource(path: string, name: string | undefined): Promise<Source> {
  const file = join(path, "cartridge.yaml");
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    if (["ENOENT", "ENOTDIR"].includes(getErrorCode(cause) ?? "")) return undefined;
    throw cause;
  });
  const named = name === undefined ? undefined : requireTag(name);
  if (text !== undefined) {
    const recipe = parseRecipe(text, file);
    const base = recipe.base;
    const rootfs =
      base !== undefined && "rootfs" in base
        ? await findRootfs(resolve(path, base.rootfs))
        : undefined;
    return {
      folder: path,
      recipe,
      rootfs,
      ...(named ?? { repository: recipe.name, tag: "latest" }),
    };
  }
  const rootfs = await findRootfs(path);
  const { repository, tag } = named ?? { repository: repositoryOf(path), tag: "latest" };
  const recipe = recipeOf(repository, { description: rootfs.description ?? "" });
  return { folder: path, recipe, rootfs, repository, tag };
}

/** Builds into `options.layout`. */
export async function buildImage(source: Source, options: BuildOptions): Promise<BuiltImage> {
  const { recipe, repository, tag } = source;
  const { layout, epochSeconds } = options;
  await startLayout(layout);
  const layers = await addLayers(source, options);
  if (recipe.command.length === 0 && recipe.args.length === 0) {
    options.onWarning("the image names no command: the cartridge or the subscription has to");
  }
  const architecture = source.rootfs?.architecture ?? options.architecture;
  const config = imageConfig(recipe, layers, { architecture, epochSeconds });
  const configBlob = await writeDocument(layout, mediaTypes.config, config);
  const manifest = await writeDocument(
    layout,
    mediaTypes.manifest,
    imageManifest(configBlob, layers),
  );
  const platform = { architecture, os: "linux" };
  await finishLayout(layout, { ...manifest, platform }, { repository, tag });
  const size = [manifest, configBlob, ...layers].reduce((sum, blob) => sum + blob.size, 0);
  return { repository, tag, digest: manifest.digest, size, layers: layers.length };
}

async function addLayers(source: Source, options: BuildOptions): Promise<readonly BuiltLayer[]> {
  const base = await addBase(source, options);
  const files = await addFiles(source, base, options);
  const lower = [base, files].filter((layer) => layer !== undefined);
  const run = await addRun(source.recipe, lower, options);
  return run === undefined ? lower : [...lower, run];
}

function addBase(
  { rootfs, recipe }: Source,
  options: BuildOptions,
): Promise<BuiltLayer | undefined> {
  if (rootfs !== undefined) return addRootfsBase(rootfs, options);
  if (recipe.base !== undefined && "debian" in recipe.base)
    return addDebianBase(recipe.base.debian, options);
  return Promise.resolve(undefined);
}

async function addFiles(
  { recipe, folder, rootfs }: Source,
  base: BuiltLayer | undefined,
  options: BuildOptions,
): Promise<BuiltLayer | undefined> {
  if (base !== undefined && recipe.files.length === 0) return undefined;
  options.onStep(`add ${recipe.files.length} files of the recipe`);
  const below =
    base === undefined
      ? new Map<string, Entry>()
      : await listFolders(await openArchive(blobPath(options.layout, base.digest)));
  const entries = await collectFiles(recipe.files, {
    folder,
    below,
    always: base === undefined && rootfs === undefined ? skeleton : [],
    onSkipped: skippedWarning(options),
  });
  return addEntries(entries, "files of the recipe", options);
}

async function addRun(
  recipe: Recipe,
  lower: readonly BuiltLayer[],
  options: BuildOptions,
): Promise<BuiltLayer | undefined> {
  if (recipe.run.length === 0) return undefined;
  options.onStep(`run ${recipe.run.length} commands of the recipe`);
  await using scratch = await scratchBeside(options.layout);
  const entries = await runLines(recipe.run, {
    layers: lower.map((layer) => blobPath(options.layout, layer.digest)),
    scratch: scratch.path,
    env: recipe.env,
    epochSeconds: options.epochSeconds,
    onLine: options.onLine,
    onSkipped: skippedWarning(options),
  });
  return await addEntries(entries, recipe.run.join("; "), options);
}

async function addEntries(
  entries: readonly Entry[],
  createdBy: string,
  { layout, compression, epochSeconds }: BuildOptions,
): Promise<BuiltLayer> {
  const archive = packEntries(entries, epochSeconds);
  return { ...(await writeLayer(archive, { blobs: blobsOf(layout), compression })), createdBy };
}

function requireTag(name: string): { readonly repository: string; readonly tag: string } {
  const reference = parseReference(name);
  if ("tag" in reference) return reference;
  throw new CliError("SOURCE_INVALID", `${name} is a digest, which a build cannot be given`, {
    hint: "write repository:tag",
  });
}

/** A name from the file's own: `Debian 12.tar.xz` → `debian-12`. */
function repositoryOf(path: string): string {
  const stem = basename(resolve(path)).replace(/\.tar(?:\.\w+)?$/, "");
  const name = stem
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-+|-+$/g, "");
  if (isRepository(name)) return name;
  throw new CliError("SOURCE_INVALID", `no repository name can be made of ${path}`, {
    hint: "name it: -t repository:tag",
  });
}
