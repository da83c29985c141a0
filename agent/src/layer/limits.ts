const MiB = 1024 ** 2;
const GiB = 1024 ** 3;

/** What one layer may cost this node. Each is checked while the layer is read, before the cost arises. */
export type LayerLimits = {
  /** Bytes of the archive, and logical bytes of all its files, sparse ones at full length [32 GiB]. */
  readonly unpackedBytesMax: number;
  /** Archive bytes for each compressed byte [250], once `ratioGraceBytes` [256 MiB] were unpacked. */
  readonly ratioMax: number;
  readonly ratioGraceBytes: number;
  /** Files, directories, links and whiteouts [1,000,000]. */
  readonly entriesMax: number;
  /** Bytes of a name or of a link's target [4095, the kernel's PATH_MAX without its NUL]. */
  readonly pathBytesMax: number;
  /** Components of a name [256]. */
  readonly depthMax: number;
  /** Symbolic links followed while one name is looked up [40, as the kernel]. */
  readonly linkFollowsMax: number;
  /** Bytes of one PAX header, GNU long name or sparse map [1 MiB, as Go]. */
  readonly extendedHeaderBytesMax: number;
  /** Bytes of all extended attributes of one entry [128 KiB]. */
  readonly xattrBytesMax: number;
};

export const defaultLayerLimits: LayerLimits = {
  unpackedBytesMax: 32 * GiB,
  ratioMax: 250,
  ratioGraceBytes: 256 * MiB,
  entriesMax: 1_000_000,
  pathBytesMax: 4095,
  depthMax: 256,
  linkFollowsMax: 40,
  extendedHeaderBytesMax: MiB,
  xattrBytesMax: 128 * 1024,
};
