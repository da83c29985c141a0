import type {
  ContainerFile,
  ProcessSpec,
  SecretReference,
  Volume,
} from "@strata/protocol/agent/messages";
import { findDuplicatePath, findMountPathFault } from "@strata/protocol/agent/mount-path";

import { AgentError } from "../errors.ts";

/** Something that a container finds at a path beside what its image has there. */
export type ContentMount =
  | { readonly kind: "named"; readonly volume: Extract<Volume, { kind: "named" }> }
  | { readonly kind: "host"; readonly volume: Extract<Volume, { kind: "host" }> }
  | { readonly kind: "tmpfs"; readonly volume: Pick<TmpfsVolume, "path" | "sizeBytes"> }
  | { readonly kind: "file"; readonly file: ContainerFile };

export type TmpfsVolume = Extract<Volume, { kind: "tmpfs" }>;

/** In the order in which they are mounted: what lies in another comes after it. Pure.
 * @throws AgentError CONTAINER_CONFIG_INVALID for a path that cannot be mounted on, or that is there twice. */
export function planContents(
  { volumes = [], files = [] }: Pick<ProcessSpec, "volumes" | "files">,
  ownFolders: readonly TmpfsVolume[] = [],
): readonly ContentMount[] {
  const mounts = [...volumes.map(toMount), ...files.map(toFile)];
  const wanted = new Set(mounts.map(pathOf));
  const all = [
    ...withoutRepeats(ownFolders)
      .filter(({ path }) => !wanted.has(path))
      .map(toMount),
    ...mounts,
  ];
  for (const path of wanted) {
    const fault = findMountPathFault(path);
    if (fault !== undefined) throw invalid(`${path} ${fault}`);
  }
  const twice = findDuplicatePath(mounts.map(pathOf));
  if (twice !== undefined) throw invalid(`${twice} is there twice`);
  return all.toSorted((left, right) => depthOf(left) - depthOf(right));
}

/** Every secret that a process needs, each once. Pure. */
export function listSecrets({
  files = [],
  secretEnv = {},
}: Pick<ProcessSpec, "files" | "secretEnv">): readonly SecretReference[] {
  const all = [
    ...files.flatMap(({ content }) => ("secret" in content ? [content.secret] : [])),
    ...Object.values(secretEnv),
  ];
  return [...new Map(all.map((secret) => [secretKey(secret), secret])).values()];
}

/** Apart from every other secret of the tenant. */
export function secretKey({ name, version }: SecretReference): string {
  return `${name}.${version}`;
}

export function pathOf(mount: ContentMount): string {
  return mount.kind === "file" ? mount.file.path : mount.volume.path;
}

function withoutRepeats(folders: readonly TmpfsVolume[]): readonly TmpfsVolume[] {
  return [...new Map(folders.map((folder) => [folder.path, folder])).values()];
}

function toMount(volume: Volume): ContentMount {
  switch (volume.kind) {
    case "named":
      return { kind: "named", volume };
    case "host":
      return { kind: "host", volume };
    case "tmpfs":
      return { kind: "tmpfs", volume };
    default:
      return volume satisfies never;
  }
}

function toFile(file: ContainerFile): ContentMount {
  return { kind: "file", file };
}

function depthOf(mount: ContentMount): number {
  return pathOf(mount).split("/").length;
}

function invalid(what: string): AgentError {
  return new AgentError("CONTAINER_CONFIG_INVALID", `the path ${what}`, {
    hint: "change the volumes or files of the subscription or its cartridge",
  });
}
