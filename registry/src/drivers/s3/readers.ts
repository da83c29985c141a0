import type { Digest } from "@strata/protocol/oci/digest";

/** Who reads which blob in this process. S3 deletes under its readers' hands; so data waits here until none is left. */
export type Readers = {
  /** To be called before the blob is looked up, so that what is found cannot go before it is read. */
  readonly enter: (digest: Digest) => void;
  /** The last reader does what waited. */
  readonly leave: (digest: Digest) => Promise<void>;
  /** Runs the body when nobody reads the blob: now, or when the last reader leaves. It must not throw. */
  readonly whenUnread: (digest: Digest, body: () => Promise<void>) => Promise<void>;
};

type Reading = { count: number; readonly waiting: (() => Promise<void>)[] };

export function createReaders(): Readers {
  const blobs = new Map<Digest, Reading>();
  return {
    enter: (digest) => {
      const reading = blobs.get(digest) ?? { count: 0, waiting: [] };
      reading.count += 1;
      blobs.set(digest, reading);
    },
    leave: async (digest) => {
      const reading = blobs.get(digest);
      if (reading === undefined) return;
      reading.count -= 1;
      if (reading.count > 0) return;
      blobs.delete(digest);
      for (const body of reading.waiting) await body();
    },
    whenUnread: async (digest, body) => {
      const reading = blobs.get(digest);
      if (reading === undefined) await body();
      else reading.waiting.push(body);
    },
  };
}
