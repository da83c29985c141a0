import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { open, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { ReadableStream } from "node:stream/web";

import { formatBytes } from "@strata/protocol/format-bytes";
import { Encrypter } from "age-encryption";

import { openSession } from "../api/session.ts";
import type { Invocation } from "../command.ts";
import { print } from "../context.ts";
import { CliError } from "../errors.ts";
import { getFlag, getList, getText, type Options } from "../options.ts";

/** The controller sends what it has; it is encrypted here, so that no passphrase leaves this machine. */
export async function run(invocation: Invocation): Promise<void> {
  const { context, options } = invocation;
  const encrypter = await makeEncrypter(options);
  const file = getText(options, "output") ?? defaultName(context.now(), encrypter !== undefined);
  const session = await openSession(invocation);
  const answer = await session.open({
    method: "POST",
    path: "/v1/backups",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ blobs: getFlag(options, "blobs") }),
  });
  const plain = ReadableStream.from(answer.chunks);
  const bytes = encrypter === undefined ? plain : await encrypter.encrypt(plain);
  const digest = await write(Readable.fromWeb(bytes), file, context.signal);
  const { size } = await stat(file);
  print(context, `${file}: ${formatBytes(size)}B, sha256:${digest}`);
}

/** @throws CliError USAGE */
async function makeEncrypter(options: Options): Promise<Encrypter | undefined> {
  const recipients = getList(options, "encryptTo");
  const passphraseFile = getText(options, "passphraseFile");
  if (recipients.length === 0 && passphraseFile === undefined) return undefined;
  if (recipients.length > 0 && passphraseFile !== undefined)
    throw new CliError("USAGE", "--encrypt-to and --passphrase-file exclude each other");
  const encrypter = new Encrypter();
  if (passphraseFile !== undefined) encrypter.setPassphrase(await readPassphrase(passphraseFile));
  for (const recipient of recipients) {
    try {
      encrypter.addRecipient(recipient);
    } catch (cause) {
      throw new CliError("USAGE", `${JSON.stringify(recipient)} is no recipient of age`, {
        cause,
        hint: "make a key with age-keygen, and give its public part: age1…",
      });
    }
  }
  return encrypter;
}

async function readPassphrase(file: string): Promise<string> {
  const text = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new CliError("USAGE", `${file} cannot be read`, { cause });
  });
  const [passphrase = ""] = text.split("\n");
  if (passphrase !== "") return passphrase;
  throw new CliError("USAGE", `the first line of ${file} is empty`, {
    hint: "put the passphrase there",
  });
}

function defaultName(nowMs: number, encrypted: boolean): string {
  const at = new Date(nowMs).toISOString().replace(/\.\d+/, "").replaceAll(/[-:]/g, "");
  return `strata-${at}.tar.zst${encrypted ? ".age" : ""}`;
}

/** Under its name only when it is whole and on the disk. Gives its SHA-256. */
async function write(bytes: Readable, file: string, signal: AbortSignal): Promise<string> {
  const partial = `${file}.part`;
  try {
    const written = createHash("sha256");
    await pipeline(
      bytes,
      async function* count(source: AsyncIterable<Buffer>) {
        for await (const chunk of source) {
          written.update(chunk);
          yield chunk;
        }
      },
      createWriteStream(partial, { mode: 0o600 }),
      { signal },
    );
    await sync(partial);
    const read = createHash("sha256");
    await pipeline(createReadStream(partial), read);
    const digest = written.digest("hex");
    if (read.digest("hex") !== digest)
      throw new CliError("LAYOUT_INVALID", `${partial} reads back as something else`, {
        hint: "the disk is failing: write it elsewhere",
      });
    await rename(partial, file);
    await sync(dirname(resolve(file)));
    return digest;
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
