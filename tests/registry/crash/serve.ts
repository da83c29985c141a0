import { once } from "node:events";
import { createServer } from "node:http";
import process from "node:process";

import { getRequestListener } from "@hono/node-server";
import type { Registry } from "@strata/registry/create-registry";

/** Sweeps as a start does, then serves on a free port of loopback and says which, as `startStore` reads it. */
export async function serve(registry: Registry): Promise<void> {
  await registry.sweepBlobs();
  await registry.sweepUploads();
  const listener = getRequestListener(registry.app.fetch);
  const server = createServer((incoming, outgoing) => void listener(incoming, outgoing));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  process.stdout.write(`listening on http://127.0.0.1:${port}\n`);
}
