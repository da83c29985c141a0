import { Readable } from "node:stream";
/** Archives that only a key or a passphrase opens, in the format of age (https://age-encryption.org/v1): the tool of
 * that name opens them, too. Altered and cut-off ones are noticed while they are read. */
import { ReadableStream } from "node:stream/web";

import { ControllerError } from "../errors.ts";

export type Keys = {
  /** Lines of an identity file: `AGE-SECRET-KEY-1…`. */
  readonly identities: readonly string[];
  readonly passphrase: string | undefined;
};

const HEADER = "age-encryption.org/v1\n";
/** Enough to tell what a file is. */
export const HEADER_BYTES = HEADER.length;

export function isEncrypted(start: Buffer): boolean {
  return start.subarray(0, HEADER_BYTES).toString("latin1") === HEADER;
}

/** Encrypts for recipients: public keys `age1…`.
 * @throws ControllerError SETTING_INVALID for one that is none */
export async function encrypt(plain: Readable, recipients: readonly string[]): Promise<Readable> {
  // Large, and seldom needed.
  const { Encrypter } = await import("age-encryption");
  const encrypter = new Encrypter();
  for (const recipient of recipients) {
    try {
      encrypter.addRecipient(recipient);
    } catch (cause) {
      throw new ControllerError("SETTING_INVALID", `${recipient} is no recipient of age`, {
        cause,
        hint: "make a key with age-keygen, and give its public part: age1…",
      });
    }
  }
  return fromWeb(await encrypter.encrypt(toWeb(plain)));
}

/** @throws ControllerError BACKUP_SEALED when no key opens it */
export async function decrypt(sealed: Readable, keys: Keys): Promise<Readable> {
  const { Decrypter } = await import("age-encryption");
  const decrypter = new Decrypter();
  try {
    for (const identity of keys.identities) decrypter.addIdentity(identity);
    if (keys.passphrase !== undefined) decrypter.addPassphrase(keys.passphrase);
    if (keys.identities.length === 0 && keys.passphrase === undefined)
      throw new Error("no key was given");
    return fromWeb(await decrypter.decrypt(toWeb(sealed)));
  } catch (cause) {
    sealed.destroy();
    throw new ControllerError(
      "BACKUP_SEALED",
      "the backup is encrypted, and nothing given opens it",
      {
        cause,
        hint: "give the key or the passphrase that it was made with: --identity FILE or --passphrase-file FILE",
      },
    );
  }
}

/** The library wants streams of the web whose chunks are plain byte arrays. */
function toWeb(stream: Readable): ReadableStream<Uint8Array<ArrayBuffer>> {
  return ReadableStream.from(stream);
}

function fromWeb(stream: ReadableStream<Uint8Array>): Readable {
  return Readable.fromWeb(stream);
}
