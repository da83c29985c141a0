import { defaultImageLimits, parseImageLimits } from "@strata/agent/image/image-limits";

import { assert, suite, throwsWithCode } from "../../support/suite.ts";

suite("limits of images", (test) => {
  test("are the defaults where nothing is said", () => {
    assert.equal(parseImageLimits({}), defaultImageLimits);
  });

  test("can each be set, in the unit that its name says", () => {
    const limits = parseImageLimits({
      STRATA_IMAGE_MAX_MIB: "3",
      STRATA_LAYERS_AT_ONCE: "4",
      STRATA_LAYER_MAX_MIB: "2",
      STRATA_LAYER_RATIO_MAX: "5",
      STRATA_LAYER_RATIO_FROM_MIB: "1",
      STRATA_LAYER_ENTRIES_MAX: "6",
      STRATA_LAYER_PATH_MAX: "7",
      STRATA_LAYER_DEPTH_MAX: "8",
      STRATA_LAYER_LINKS_MAX: "9",
      STRATA_LAYER_HEADER_MAX_KIB: "10",
      STRATA_LAYER_XATTRS_MAX_KIB: "11",
    });
    assert.equal(limits, {
      imageBytesMax: 3_145_728,
      layersAtOnce: 4,
      layer: {
        unpackedBytesMax: 2_097_152,
        ratioMax: 5,
        ratioGraceBytes: 1_048_576,
        entriesMax: 6,
        pathBytesMax: 7,
        depthMax: 8,
        linkFollowsMax: 9,
        extendedHeaderBytesMax: 10_240,
        xattrBytesMax: 11_264,
      },
    });
  });

  for (const [name, text] of [
    ["STRATA_LAYER_PATH_MAX", "4096"],
    ["STRATA_LAYER_MAX_MIB", "0"],
    ["STRATA_LAYER_RATIO_MAX", "1.5"],
    ["STRATA_LAYERS_AT_ONCE", "many"],
  ] as const) {
    test(`${name}=${text} stops the agent with what it may be`, () => {
      throwsWithCode(() => parseImageLimits({ [name]: text }), "CONFIG_INVALID");
    });
  }
});
