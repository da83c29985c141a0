/** What an image is made of for one architecture, as OCI names it. */
export type ImageVariant = {
  readonly architecture: string;
  /** Blobs, with their sizes in bytes. */
  readonly layers: readonly { readonly digest: string; readonly size: number }[];
};
