/** `strata restore`, which is this program and not a client of it: the controller is stopped then. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";

import { ControllerError } from "../errors.ts";
import type { Keys } from "./encryption.ts";
import { restore } from "./restore.ts";

export type RestoreCommand = {
  readonly args: readonly string[];
  /** STRATA_DATA. */
  readonly dataDirectory: string;
  readonly nowMs: number;
  readonly epoch: string;
  readonly print: (line: string) => void;
};

const USAGE = `usage: strata restore FILE [--data FOLDER] [--identity FILE] [--passphrase-file FILE]

Makes an installation of a backup while its controller is stopped. What is there is moved aside.
  --data FOLDER           the installation [STRATA_DATA, or /var/lib/strata]
  --identity FILE         a key of age that opens it; may be given several times
  --passphrase-file FILE  its first line opens it`;

/** @throws ControllerError SETTING_INVALID for a wrong use; those of `restore` */
export async function runRestore(command: RestoreCommand): Promise<void> {
  const { values, positionals } = parse(command.args);
  const [file] = positionals;
  if (values.help === true || file === undefined) {
    command.print(USAGE);
    if (values.help === true) return;
    throw new ControllerError("SETTING_INVALID", "a restore wants the file of a backup", {
      hint: "strata restore FILE",
    });
  }
  const data = resolve(values.data ?? command.dataDirectory);
  const { nowMs, epoch } = command;
  const keys = readKeys(values.identity ?? [], values["passphrase-file"]);
  const { manifest, aside } = await restore({ file, data, keys, nowMs, epoch });
  const { createdAt, rows, parts, blobs } = manifest;
  const total = Object.values(rows).reduce((sum, count) => sum + count, 0);
  command.print(`${data} is as it was at ${createdAt}: ${total} rows, ${parts.length} files`);
  if (blobs !== "included")
    command.print(
      `the blobs of images are ${blobs}: those that are not in ${data}/store have to be pushed again`,
    );
  if (aside !== undefined) command.print(`what was there is in ${aside}`);
  command.print("start the controller, look at strata epoch show, then: strata epoch confirm");
}

function parse(args: readonly string[]): ReturnType<typeof parseOptions> {
  try {
    return parseOptions(args);
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new ControllerError("SETTING_INVALID", message, { cause, hint: "strata restore --help" });
  }
}

// oxlint-disable-next-line typescript/explicit-function-return-type -- inferred from the options, which are the type
function parseOptions(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      data: { type: "string" },
      identity: { type: "string", multiple: true },
      "passphrase-file": { type: "string" },
      help: { type: "boolean" },
    },
  });
}

function readKeys(identityFiles: readonly string[], passphraseFile: string | undefined): Keys {
  return {
    identities: identityFiles.flatMap((file) =>
      read(file)
        .split("\n")
        .map((line) => line.trim())
        .filter((line) => line !== "" && !line.startsWith("#")),
    ),
    passphrase: passphraseFile === undefined ? undefined : read(passphraseFile).split("\n")[0],
  };
}

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new ControllerError("SETTING_INVALID", `${file} cannot be read`, {
      cause,
      hint: "name a file that you may read",
    });
  }
}
