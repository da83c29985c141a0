import { RegistryError } from "./errors.ts";
import type { UsageIndex } from "./metadata-store.ts";

/** How much some repositories may hold together. */
export type Quota = {
  /** The repository of this name and all below it: `acme` is for `acme` and `acme/app`, not for `acme2`. Empty for
   * the whole store. */
  readonly prefix: string;
  /** Of blobs, each counted once however many of the repositories have it, and of manifests. */
  readonly bytesMax: number;
};

/** Given by the embedder; undefined where there is no limit. */
export type FindQuota = (repository: string) => Quota | undefined;

/** Counts uploads that are not finished, so that many at once cannot fill what each alone may. */
export type QuotaGuard = {
  /** Looks up what is used now. The result is to be asked before an upload grows to so many bytes; it throws
   * RegistryError DENIED when there is no room. */
  readonly enter: (upload: UploadPlace) => Promise<(sizeBytes: number) => void>;
  /** What the upload really has, now that a body ended. */
  readonly settle: (upload: UploadPlace, sizeBytes: number) => void;
  /** The upload has become a blob, or is gone. */
  readonly leave: (id: string) => void;
};

export type UploadPlace = { readonly id: string; readonly repository: string };

type Pending = { readonly prefix: string; sizeBytes: number };

export function createQuotaGuard(metadata: UsageIndex, findQuota: FindQuota): QuotaGuard {
  const uploads = new Map<string, Pending>();
  const sums = new Map<string, number>();
  const set = (id: string, prefix: string, sizeBytes: number): void => {
    const sum = (sums.get(prefix) ?? 0) + sizeBytes - (uploads.get(id)?.sizeBytes ?? 0);
    sums.set(prefix, sum);
    uploads.set(id, { prefix, sizeBytes });
  };
  return {
    enter: async ({ id, repository }) => {
      const quota = findQuota(repository);
      if (quota === undefined) return () => undefined;
      const usedBytes = await metadata.sumBytes(quota.prefix);
      return (sizeBytes) => {
        const own = uploads.get(id)?.sizeBytes ?? 0;
        if (sizeBytes <= own) return;
        const othersBytes = (sums.get(quota.prefix) ?? 0) - own;
        if (usedBytes + othersBytes + sizeBytes > quota.bytesMax) {
          throw quotaError(quota, { usedBytes: usedBytes + othersBytes, wantedBytes: sizeBytes });
        }
        set(id, quota.prefix, sizeBytes);
      };
    },
    settle: ({ id }, sizeBytes) => {
      const pending = uploads.get(id);
      if (pending !== undefined) set(id, pending.prefix, sizeBytes);
    },
    leave: (id) => {
      const pending = uploads.get(id);
      if (pending === undefined) return;
      set(id, pending.prefix, 0);
      uploads.delete(id);
      if (sums.get(pending.prefix) === 0) sums.delete(pending.prefix);
    },
  };
}

type Demand = { readonly usedBytes: number; readonly wantedBytes: number };

/** The code that clients know for it; they show the message to their user. */
export function quotaError(quota: Quota, { usedBytes, wantedBytes }: Demand): RegistryError {
  const where = quota.prefix === "" ? "the store" : quota.prefix;
  return new RegistryError(
    "DENIED",
    `quota of ${where} exceeded: ${usedBytes} of ${quota.bytesMax} bytes are used, ${wantedBytes} more were to come`,
    { hint: "delete images and let the garbage be collected, or ask for a larger quota" },
  );
}
