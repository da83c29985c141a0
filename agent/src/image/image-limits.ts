/** What images may cost this node, and the settings that say so. */
import { defaultLayerLimits, type LayerLimits } from "../layer/limits.ts";
import { type Environment, parseCount } from "../parse-setting.ts";

export type ImageLimits = {
  readonly layer: LayerLimits;
  /** Bytes of all archives of one image [64 GiB]. */
  readonly imageBytesMax: number;
  /** Layers that are pulled at once, of all images [3]. */
  readonly layersAtOnce: number;
};

export const defaultImageLimits: ImageLimits = {
  layer: defaultLayerLimits,
  imageBytesMax: 64 * 1024 ** 3,
  layersAtOnce: 3,
};

const KIB = 1024;
const MIB = 1024 ** 2;
/** 1 PiB: its bytes are still whole numbers. */
const MIB_MAX = 1024 ** 3;

/** STRATA_IMAGE_MAX_MIB        archives of all layers of one image, unpacked [65536]
 * STRATA_LAYER_MAX_MIB        archive of one layer, and all its files at full length [32768]
 * STRATA_LAYER_RATIO_MAX      bytes of an archive for each of its compressed bytes, 2 to 100000 [250]
 * STRATA_LAYER_RATIO_FROM_MIB archives up to this size may have any ratio [256]
 * STRATA_LAYER_ENTRIES_MAX    files, directories, links and whiteouts of one layer, at most 100,000,000 [1000000]
 * STRATA_LAYER_PATH_MAX       bytes of a name or of a link's target, at most the kernel's 4095 [4095]
 * STRATA_LAYER_DEPTH_MAX      components of a name, at most 2048 [256]
 * STRATA_LAYER_LINKS_MAX      symbolic links followed for one name, 0 to 40 [40]
 * STRATA_LAYER_HEADER_MAX_KIB one PAX header, GNU long name or sparse map, at most 65536 KiB [1024]
 * STRATA_LAYER_XATTRS_MAX_KIB all extended attributes of one entry, at most 65536 KiB [128]
 * STRATA_LAYERS_AT_ONCE       layers that are pulled at once, of all images, 1 to 32 [3]
 * @throws AgentError CONFIG_INVALID */
export function parseImageLimits(environment: Environment): ImageLimits {
  const count = (name: string, fallback: number, bounds: readonly [number, number]): number =>
    parseCount(environment, `STRATA_${name}`, { fallback, min: bounds[0], max: bounds[1] });
  const { layer, imageBytesMax, layersAtOnce } = defaultImageLimits;
  return {
    imageBytesMax: MIB * count("IMAGE_MAX_MIB", imageBytesMax / MIB, [1, MIB_MAX]),
    layersAtOnce: count("LAYERS_AT_ONCE", layersAtOnce, [1, 32]),
    layer: {
      unpackedBytesMax: MIB * count("LAYER_MAX_MIB", layer.unpackedBytesMax / MIB, [1, MIB_MAX]),
      ratioMax: count("LAYER_RATIO_MAX", layer.ratioMax, [2, 100_000]),
      ratioGraceBytes:
        MIB * count("LAYER_RATIO_FROM_MIB", layer.ratioGraceBytes / MIB, [0, MIB_MAX]),
      entriesMax: count("LAYER_ENTRIES_MAX", layer.entriesMax, [1, 100_000_000]),
      pathBytesMax: count("LAYER_PATH_MAX", layer.pathBytesMax, [1, layer.pathBytesMax]),
      depthMax: count("LAYER_DEPTH_MAX", layer.depthMax, [1, 2048]),
      linkFollowsMax: count("LAYER_LINKS_MAX", layer.linkFollowsMax, [0, 40]),
      extendedHeaderBytesMax:
        KIB * count("LAYER_HEADER_MAX_KIB", layer.extendedHeaderBytesMax / KIB, [1, 65_536]),
      xattrBytesMax: KIB * count("LAYER_XATTRS_MAX_KIB", layer.xattrBytesMax / KIB, [1, 65_536]),
    },
  };
}
