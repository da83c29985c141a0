/** The last step of unpacking: what can only be set once nothing is written any more. */
import * as fs from "node:fs";

import { getErrorCode } from "@strata/protocol/coded-error";

import { hostFailure, hostPath, LateCalls } from "./host-calls.ts";
import type { Attributes, DirectoryNode, LateAttributes } from "./tree.ts";
import { pathOf } from "./tree.ts";

/** Of a parent directory that the archive left out. A fixed time makes the same layer the same tree everywhere. */
const impliedAttributes: Attributes = {
  mode: 0o755,
  uid: 0,
  gid: 0,
  mtimeSeconds: 0,
  mtimeNanoseconds: 0,
  xattrs: [],
};

/** Makes whiteouts and fifos, sets extended attributes, and gives directories their owner, mode and time. */
export async function finishTree(root: DirectoryNode): Promise<void> {
  const calls = new LateCalls();
  finishDirectory(root, { calls, done: new Set() });
  await calls.run();
}

type Finish = { readonly calls: LateCalls; readonly done: Set<LateAttributes> };

/** Children first: a call inside a directory changes its time. */
function finishDirectory(directory: DirectoryNode, finish: Finish): void {
  markWhiteouts(directory, finish.calls);
  let callsInside = (directory.whiteouts?.size ?? 0) > 0;
  for (const [name, child] of directory.children) {
    if (child.kind === "directory") {
      finishDirectory(child, finish);
    } else {
      const path = pathOf(directory, name);
      if (child.kind === "fifo" && child.attributes !== undefined) {
        finish.calls.fifo(path, child.attributes);
        callsInside = true;
      }
      if (child.late !== undefined && !finish.done.has(child.late)) {
        finish.done.add(child.late);
        setLate(path, child.late, finish.calls);
      }
    }
  }
  setDirectory(directory, { calls: finish.calls, callsInside });
}

/** A whiteout and a directory of the same name in one layer: the directory replaces what the layers below have. */
function markWhiteouts(directory: DirectoryNode, calls: LateCalls): void {
  for (const name of directory.whiteouts ?? []) {
    const child = directory.children.get(name);
    if (child === undefined || child.kind === "skipped") calls.whiteout(pathOf(directory, name));
    else if (child.kind === "directory") child.opaque = true;
  }
}

function setLate(path: string, late: LateAttributes, calls: LateCalls): void {
  for (const { name, value } of late.xattrs) calls.xattr(path, name, value);
  calls.times(path, late.mtimeSeconds, late.mtimeNanoseconds);
}

function setDirectory(
  directory: DirectoryNode,
  { calls, callsInside }: { readonly calls: LateCalls; readonly callsInside: boolean },
): void {
  const attributes = directory.attributes ?? impliedAttributes;
  const { mode, uid, gid, mtimeSeconds, mtimeNanoseconds, xattrs } = attributes;
  const path = directory.path === "" ? "." : directory.path;
  try {
    const place = hostPath(path);
    if (uid !== 0 || gid !== 0) fs.lchownSync(place, uid, gid);
    fs.chmodSync(place, mode);
    if (!callsInside && mtimeNanoseconds === 0) fs.lutimesSync(place, mtimeSeconds, mtimeSeconds);
  } catch (error) {
    throw hostFailure(path, getErrorCode(error) ?? "an error", { cause: error });
  }
  for (const { name, value } of xattrs) calls.xattr(path, name, value);
  // overlayfs takes no notice of the mark on a layer's root: the agent leaves the layers below out instead.
  if (directory.opaque && directory.parent !== undefined)
    calls.xattr(path, "trusted.overlay.opaque", "y");
  if (callsInside || mtimeNanoseconds !== 0) calls.times(path, mtimeSeconds, mtimeNanoseconds);
}
