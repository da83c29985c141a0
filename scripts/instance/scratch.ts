import { createServer } from "node:net";
import { join } from "node:path";

import { bringDown } from "./bring-down.ts";
import { bringUp } from "./bring-up.ts";
import { type Instance, loadInstance } from "./instance.ts";

export type ScratchInstance = AsyncDisposable & { readonly instance: Instance };

/** A whole installation of its own, for a bench or a test: up when the promise resolves, and purged at the end of its
 * scope. `folder` is an empty folder of the caller; `settings` are those that `scripts/up` knows. */
export async function aScratchInstance(
  folder: string,
  say: (line: string) => void,
  settings: Readonly<Record<string, string>> = {},
): Promise<ScratchInstance> {
  const data = join(folder, "data");
  const instance = loadInstance({
    ...settings,
    STRATA_DATA: data,
    STRATA_PORT: String(await findFreePorts()),
  });
  const purge = (): Promise<void> => bringDown(instance, { purge: true, say });
  try {
    await bringUp(instance, say);
  } catch (error) {
    await purge();
    throw error;
  }
  return { instance, [Symbol.asyncDispose]: purge };
}

/** A port that is free now, and the one after it too: the controller listens on both. */
export async function findFreePorts(): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const port = await tryPort(0);
    if (port !== undefined && (await tryPort(port + 1)) !== undefined) return port;
  }
  throw new Error("no two free ports in a row in 50 attempts");
}

/** The port that was bound and let go again; undefined when it is taken. */
function tryPort(port: number): Promise<number | undefined> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once("error", () => resolve(undefined));
    server.listen(port, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" ? address?.port : undefined));
    });
  });
}
