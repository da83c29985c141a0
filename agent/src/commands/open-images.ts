import { join } from "node:path";

import type { Dispatcher } from "undici";

import { requireArchitecture } from "../host/machine.ts";
import type { Identity } from "../identity.ts";
import { openBlobCache } from "../image/blob-cache.ts";
import { createCacheSource } from "../image/blob-source.ts";
import { createDeltaClient } from "../image/delta-client.ts";
import { createDeltaSource } from "../image/delta-source.ts";
import { createImageStore, type ImageStore } from "../image/image-store.ts";
import { listOlderLayers } from "../image/older-layers.ts";
import { createRegistryClient } from "../image/registry-client.ts";
import { createStoreSpeed, withSpeed } from "../image/store-speed.ts";
import { agentPaths } from "../paths.ts";
import { selfCommand } from "../self-exec.ts";
import type { CommandContext } from "./context.ts";

/** The images of this node, with all places where their layers may come from. */
export function openImages(
  { controllerUrl, nodeId, credential }: Identity,
  { config, clock, logger }: CommandContext,
  dispatcher: Dispatcher,
): ImageStore {
  const { images: directory } = agentPaths(config);
  const runner = selfCommand();
  const speed = createStoreSpeed();
  const blobs = openBlobCache({
    directory: join(directory, "blobs"),
    bytesMax: config.blobCacheBytesMax,
    clock,
    logger,
  });
  const registry = createRegistryClient({
    dispatcher,
    baseUrl: new URL(controllerUrl),
    credential: () => credential,
  });
  const delta = createDeltaSource({
    mode: config.deltas,
    cache: blobs,
    ask: createDeltaClient({ dispatcher, controllerUrl, nodeId, credential }),
    olderLayers: (repository) => listOlderLayers(directory, repository),
    speed,
    runner,
    logger,
  });
  return createImageStore({
    directory,
    client: withSpeed(registry, speed, clock),
    clock,
    logger,
    blobs,
    sources: [createCacheSource(blobs), delta],
    runner,
    architecture: requireArchitecture(),
  });
}
