import type { Digest } from "@strata/protocol/oci/digest";
import type { ImageConfig } from "@strata/protocol/oci/image";

/** An image whose layers are unpacked on this node. */
export type RunnableImage = {
  readonly config: ImageConfig;
  /** Lowest first. Shared by all containers and owned by real ids: never written to. */
  readonly layers: readonly { readonly directory: string }[];
};

/** Makes an image ready. Quick when it already is.
 * Rejects with a CodedError: `retryable` says whether a later call may succeed, `code` goes into the report. */
export type ImageSource = {
  readonly ensure: (
    image: { readonly repository: string; readonly digest: Digest },
    options: { readonly signal: AbortSignal },
  ) => Promise<RunnableImage>;
};
