/** Seals the values of secrets, so that the database and its backups tell nobody what they are. */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createSecretKey,
  generateKeySync,
  type KeyObject,
  randomBytes,
} from "node:crypto";
import { existsSync, readFileSync } from "node:fs";

import { ControllerError } from "../errors.ts";
import { writeFileDurably } from "./durable-file.ts";

export type SecretBox = {
  /** Makes the key at first use. `owner` says whose value it is, and is not secret. */
  readonly seal: (owner: SecretOwner, value: Buffer) => string;
  /** @throws ControllerError SECRET_KEY_LOST when it was sealed with another key, for another owner, or is damaged. */
  readonly open: (owner: SecretOwner, sealed: string) => Buffer;
};

/** A sealed value that is put in another's place does not open. */
export type SecretOwner = {
  readonly tenant: string;
  readonly name: string;
  readonly version: number;
};

const ALGORITHM = "aes-256-gcm";
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** Of the key's digest: tells which key a value was sealed with. */
const KEY_ID_LENGTH = 16;

/** A box whose key is in `file`, for its owner alone and outside of the database. The file is read at each use, so that
 * a key that was put back works at once. */
export function createSecretBox(file: string): SecretBox {
  return {
    seal: (owner, value) => {
      const key = readKey(file) ?? makeKey(file);
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES });
      cipher.setAAD(ownerBytes(owner));
      const sealed = Buffer.concat([cipher.update(value), cipher.final()]);
      const parts = [nonce, cipher.getAuthTag(), sealed].map((part) => part.toString("base64url"));
      return ["v1", keyId(key), ...parts].join(".");
    },
    open: (owner, sealed) => {
      const [format, id, nonce = "", tag = "", text = ""] = sealed.split(".");
      const key = readKey(file);
      if (key === undefined || format !== "v1" || id !== keyId(key)) throw lost(owner, file);
      try {
        const decipher = createDecipheriv(ALGORITHM, key, Buffer.from(nonce, "base64url"), {
          authTagLength: TAG_BYTES,
        });
        decipher.setAAD(ownerBytes(owner)).setAuthTag(Buffer.from(tag, "base64url"));
        return Buffer.concat([decipher.update(Buffer.from(text, "base64url")), decipher.final()]);
      } catch (cause) {
        throw lost(owner, file, cause);
      }
    },
  };
}

/** Undefined when there is none.
 * @throws ControllerError SETTING_INVALID when the file holds something else. */
function readKey(file: string): KeyObject | undefined {
  if (!existsSync(file)) return undefined;
  const bytes = Buffer.from(readFileSync(file, "utf8").trim(), "hex");
  if (bytes.length === KEY_BYTES) return createSecretKey(bytes);
  throw new ControllerError("SETTING_INVALID", `${file} holds no key`, {
    hint: "put the file back from a backup; without it move it away, and set every secret again",
  });
}

function makeKey(file: string): KeyObject {
  const key = generateKeySync("aes", { length: KEY_BYTES * 8 });
  writeFileDurably(file, `${key.export().toString("hex")}\n`);
  return key;
}

function keyId(key: KeyObject): string {
  return createHash("sha256").update(key.export()).digest("hex").slice(0, KEY_ID_LENGTH);
}

function ownerBytes({ tenant, name, version }: SecretOwner): Buffer {
  return Buffer.from(JSON.stringify([tenant, name, version]));
}

function lost(
  { tenant, name, version }: SecretOwner,
  file: string,
  cause?: unknown,
): ControllerError {
  return new ControllerError(
    "SECRET_KEY_LOST",
    `version ${version} of secret ${tenant}/${name} cannot be opened with the key in ${file}`,
    {
      cause,
      hint: "put the file back from the backup of that time, or set the secret again",
    },
  );
}
