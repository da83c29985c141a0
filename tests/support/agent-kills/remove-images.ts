/** Deletes images from an agent's store and what no image needs, as its garbage collection does, until it is done or
 * killed. Arguments: the store's folder, then digests. */
import process from "node:process";

import { createImageStore } from "@strata/agent/image/image-store";
import { createRegistryClient } from "@strata/agent/image/registry-client";
import { selfCommand } from "@strata/agent/self-exec";
import { parseDigest } from "@strata/protocol/oci/digest";
import { Agent } from "undici";

const [directory = "", ...digests] = process.argv.slice(2);
const store = createImageStore({
  directory,
  client: createRegistryClient({
    dispatcher: new Agent(),
    baseUrl: new URL("http://127.0.0.1:1"),
  }),
  clock: () => 0,
  logger: { info: () => undefined, warn: () => undefined },
  runner: selfCommand(),
  architecture: "amd64",
});
for (const digest of digests) await store.remove(parseDigest(digest));
await store.removeOrphans();
