/** Puts a restored installation in the place of what is there. What is replaced is moved aside and never deleted. A
 * swap that was interrupted goes on where it stopped: at the next start of the controller, or of a restore. */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
} from "node:fs";
import { dirname, join } from "node:path";

/** Checked and on the disk; the rest of the name says when. */
const READY = "restore-ready-";
/** What was replaced by it. */
const ASIDE = "before-restore-";
const BLOBS = "store/blobs/";
/** What belongs to what is replaced, and would be read together with what comes. */
const COMPANIONS: readonly string[] = [
  "controller/strata.db-wal",
  "controller/strata.db-shm",
  "store/store.db-wal",
  "store/store.db-shm",
  "store/store.db.reserve",
  "store/journal.ndjson",
];

/** Makes a folder of checked files the one that takes the data's place. From here on it is finished, come what may.
 * @returns What it is called now. */
export function makeReady(data: string, folder: string, stamp: string): void {
  renameSync(folder, join(data, `${READY}${stamp}`));
  sync(data);
}

/** Finishes what was begun. Gives the folder with what was replaced; undefined when nothing was under way. */
export function finishSwap(data: string): string | undefined {
  const [ready] = existsSync(data)
    ? readdirSync(data).filter((name) => name.startsWith(READY))
    : [];
  if (ready === undefined) return undefined;
  const from = join(data, ready);
  const aside = join(data, `${ASIDE}${ready.slice(READY.length)}`);
  // Files first: while one of them is not there yet, its companions are the old one's.
  for (const path of COMPANIONS) setAside(data, path, aside);
  const folders = new Set<string>();
  for (const path of listFiles(from)) {
    const target = join(data, path);
    // The name of a blob is its contents: there is nothing to keep of one that is replaced.
    if (!path.startsWith(BLOBS)) setAside(data, path, aside);
    mkdirSync(dirname(target), { recursive: true, mode: 0o700 });
    renameSync(join(from, path), target);
    folders.add(dirname(target));
  }
  for (const folder of folders) sync(folder);
  removeEmpty(from);
  sync(data);
  return existsSync(aside) ? aside : undefined;
}

/** What is there already from before an interruption was moved first, and stays. */
function setAside(data: string, path: string, aside: string): void {
  const target = join(aside, path);
  if (!existsSync(join(data, path)) || existsSync(target)) return;
  mkdirSync(dirname(target), { recursive: true, mode: 0o700 });
  renameSync(join(data, path), target);
  sync(dirname(target));
}

function listFiles(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
}

function removeEmpty(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true }))
    if (entry.isDirectory()) removeEmpty(join(folder, entry.name));
  rmdirSync(folder);
}

function sync(path: string): void {
  const file = openSync(path, "r");
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
