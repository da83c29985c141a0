import type { Compression } from "@strata/protocol/oci/media-type";

/** What every step of a build is told. */
export type BuildOptions = {
  /** An empty folder, which becomes an OCI image layout. */
  readonly layout: string;
  readonly compression: Compression;
  /** The time of every file and of the image: SOURCE_DATE_EPOCH, or 0. */
  readonly epochSeconds: number;
  /** Where layers of Debian packages are kept for the next build. */
  readonly cacheFolder: string;
  /** Debian packages are installed again, whatever the cache has. */
  readonly isFresh: boolean;
  /** GOARCH of this machine. */
  readonly architecture: string;
  /** A new step begins, said in one line. */
  readonly onStep: (text: string) => void;
  /** A line that a tool wrote. */
  readonly onLine: (line: string) => void;
  /** Something is not as the author may expect. */
  readonly onWarning: (text: string) => void;
};
