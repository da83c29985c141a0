import { join } from "node:path";

import type { Digest } from "@strata/protocol/oci/digest";
import type { Dispatcher } from "undici";

import { requireArchitecture } from "../host/machine.ts";
import type { Identity } from "../identity.ts";
import { openBlobCache } from "../image/blob-cache.ts";
import { createCacheSource } from "../image/blob-source.ts";
import { createDeltaClient } from "../image/delta-client.ts";
import { createFindDelta } from "../image/find-delta.ts";
import { createImageStore } from "../image/image-store.ts";
import { createLayerGc, type LayerGc, readDiskShare } from "../image/layer-gc.ts";
import { listOlderLayers } from "../image/older-layers.ts";
import { createRegistryClient } from "../image/registry-client.ts";
import { createStoreSpeed, withSpeed } from "../image/store-speed.ts";
import { agentPaths } from "../paths.ts";
import type { Peer } from "../peer/peer.ts";
import { selfCommand } from "../self-exec.ts";
import type { CommandContext } from "./context.ts";

export type OpenImagesOptions = {
  readonly dispatcher: Dispatcher;
  readonly peer: Peer;
  /** Images that may not be deleted now. */
  readonly inUse: () => ReadonlySet<Digest>;
};

/** The images of this node, with all places where their layers may come from, and what deletes them again. */
export function openImages(
  { controllerUrl, nodeId, credential }: Identity,
  { config, clock, logger }: CommandContext,
  { dispatcher, peer, inUse }: OpenImagesOptions,
): LayerGc {
  const { images: directory } = agentPaths(config);
  const runner = selfCommand();
  const speed = createStoreSpeed();
  const blobs = openBlobCache({
    directory: join(directory, "blobs"),
    bytesMax: config.blobCacheBytesMax,
    clock,
    logger,
    onChange: peer.onBlobChange,
  });
  const registry = createRegistryClient({
    dispatcher,
    baseUrl: new URL(controllerUrl),
    credential: () => credential,
  });
  const findDelta = createFindDelta({
    mode: config.deltas,
    cache: blobs,
    ask: createDeltaClient({ dispatcher, controllerUrl, nodeId, credential }),
    olderLayers: (repository) => listOlderLayers(directory, repository),
    speed,
    runner,
    logger,
  });
  const store = createImageStore({
    directory,
    client: withSpeed(registry, speed, clock),
    clock,
    logger,
    blobs,
    sources: [createCacheSource(blobs), peer.join(blobs)],
    findDelta,
    runner,
    limits: config.images,
    architecture: requireArchitecture(),
  });
  return createLayerGc({
    store,
    blobs,
    inUse,
    limits: config.disk,
    readDisk: () => readDiskShare(directory),
    clock,
    logger,
  });
}
