import { getErrorCode } from "@strata/protocol/errors";
import { type Digest, isDigest } from "@strata/protocol/oci/digest";
import Database from "better-sqlite3";

import { RegistryError } from "../../errors.ts";

/** A blob that the metadata says is stored. */
export type CopiedBlob = { readonly digest: Digest; readonly sizeBytes: number };

/** Reads all of a copy of the metadata that nobody else has open, leaves it as one file without companions, and gives
 * the blobs that belong to it.
 * @throws RegistryError INTERNAL when it is damaged */
export function readMetadataCopy(file: string): readonly CopiedBlob[] {
  try {
    const client = new Database(file, { fileMustExist: true });
    try {
      client.pragma("journal_mode = DELETE");
      const found = client.pragma("integrity_check(1)", { simple: true });
      if (found !== "ok") throw damaged(file, String(found));
      const rows = client.prepare("select digest, size_bytes from blobs order by digest").raw();
      return rows.all().map((row) => parseBlob(row, file));
    } finally {
      client.close();
    }
  } catch (error) {
    if (!(getErrorCode(error) ?? "").startsWith("SQLITE_")) throw error;
    throw damaged(file, "SQLite cannot read it", error);
  }
}

function parseBlob(row: unknown, file: string): CopiedBlob {
  const [digest, sizeBytes] = Array.isArray(row) ? row : [];
  if (typeof digest === "string" && isDigest(digest) && typeof sizeBytes === "number")
    return { digest, sizeBytes };
  throw damaged(file, "a blob has no digest");
}

function damaged(file: string, what: string, cause?: unknown): RegistryError {
  return new RegistryError("INTERNAL", `${file} is damaged: ${what}`, { cause });
}
