import type { DigestAlgorithm } from "@strata/protocol/oci/digest";

import { RegistryError } from "./errors.ts";
import type { RunningHash } from "./running-hash.ts";

/** What makes an upload quick, and is made anew after a restart. */
export type LiveUpload = {
  busy: boolean;
  /** What the client is expected to close it with. A wrong guess costs one more read of the bytes. */
  algorithm: DigestAlgorithm;
  hash: RunningHash | undefined;
};

export type LiveUploads = {
  readonly add: (id: string, algorithm: DigestAlgorithm) => void;
  readonly has: (id: string) => boolean;
  readonly isBusy: (id: string) => boolean;
  readonly remove: (id: string) => void;
  /** Runs the body while no other request writes to this upload. @throws RegistryError UPLOAD_BUSY */
  readonly exclusively: <Result>(
    id: string,
    body: (upload: LiveUpload) => Promise<Result>,
  ) => Promise<Result>;
};

export function createLiveUploads(): LiveUploads {
  const uploads = new Map<string, LiveUpload>();
  const add = (id: string, algorithm: DigestAlgorithm): LiveUpload => {
    const upload = { busy: false, algorithm, hash: undefined };
    uploads.set(id, upload);
    return upload;
  };
  return {
    add,
    has: (id) => uploads.has(id),
    isBusy: (id) => uploads.get(id)?.busy === true,
    remove: (id) => {
      uploads.delete(id);
    },
    exclusively: async (id, body) => {
      const upload = uploads.get(id) ?? add(id, "sha256");
      if (upload.busy) {
        throw new RegistryError("UPLOAD_BUSY", "another request is writing to this upload", {
          hint: "wait for it to end, then ask for the status",
        });
      }
      upload.busy = true;
      try {
        return await body(upload);
      } finally {
        upload.busy = false;
      }
    },
  };
}
