import type { HeaderRecord } from "../errors.ts";

export type UploadPosition = {
  readonly repository: string;
  readonly id: string;
  readonly storedBytes: number;
};

/** What every answer about an unfinished upload carries: distribution-spec v1.1, "Pushing a blob in chunks".
 * `Range` cannot say "nothing yet"; `0-0` is what clients expect there. */
export function uploadHeaders({ repository, id, storedBytes }: UploadPosition): HeaderRecord {
  return {
    location: `/v2/${repository}/blobs/uploads/${id}`,
    range: `0-${Math.max(0, storedBytes - 1)}`,
    "docker-upload-uuid": id,
  };
}
