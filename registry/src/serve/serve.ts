/** The store on its own, as a server. */
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { isIP } from "node:net";

import { getRequestListener } from "@hono/node-server";

import { createRegistry, type Registry } from "../create-registry.ts";
import type { RegistryLogger } from "../logger.ts";
import { openControl } from "../maintain/control.ts";
import { startUpkeep } from "../maintain/upkeep-loop.ts";
import type { World } from "../world.ts";
import type { Arguments } from "./arguments.ts";
import { listen, type Listener } from "./listen.ts";
import { createLog } from "./log.ts";
import { openLogin } from "./login.ts";
import { openFolder } from "./open-folder.ts";
import { readServeSettings, type ServeSettings } from "./settings.ts";
import { startSyncLoop } from "./sync-loop.ts";

const SWEEP_INTERVAL_MS = 5 * 60_000;
const REFRESH_INTERVAL_MS = 2_000;

/** Serves until `world.signal`; gives the exit status. @throws ServeError */
export async function serve(world: World, args: Arguments): Promise<number> {
  const settings = readServeSettings(args, world.env);
  const logger = createLog(world.stderr);
  const { clock, newId, randomBytes } = world;
  mkdirSync(settings.data, { recursive: true, mode: 0o700 });
  const login = openLogin(settings, { clock, randomBytes, logger });
  await using undo = new AsyncDisposableStack();
  const { data, bucket } = settings;
  const folder = await openFolder({ folder: data, bucket, newId, logger }, (recovery) =>
    logger.warn(recovery, "metadata brought up to its journal"),
  );
  const { mirrors, upkeep, quota } = settings.config;
  const registry = createRegistry({
    ...folder,
    ...login.access,
    mirrors,
    quota,
    clock,
    newId,
    logger,
  });
  undo.defer(registry.close);
  await registry.sweepBlobs();
  await registry.sweepUploads();
  undo.use(await openControl({ registry, settings: upkeep, data, logger, clock }));
  const listener = await openListener(settings, registry);
  undo.defer(listener.close);
  warnOfOpenDoors(settings, logger);
  world.stdout.write(`listening on ${listener.url}\n`);
  undo.use(startSweeping(registry, logger));
  undo.use(startUpkeep({ registry, settings: upkeep, logger }));
  undo.use(startSyncLoop({ rules: mirrors, registry, logger }));
  undo.use(startRefreshing([login.refresh, listener.refresh], logger));
  if (!world.signal.aborted) await once(world.signal, "abort");
  return 0;
}

function openListener(settings: ServeSettings, registry: Registry): Promise<Listener> {
  const handle = getRequestListener(registry.app.fetch, { overrideGlobalObjects: false });
  return listen({
    ...settings,
    // It answers its own errors, so its promise is of no interest.
    onRequest: (incoming, outgoing) => void handle(incoming, outgoing),
  });
}

function warnOfOpenDoors(
  { host, users, tls, publicUrl }: ServeSettings,
  logger: RegistryLogger,
): void {
  const isOwn =
    host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
  if (isOwn) return;
  if (users === undefined) {
    logger.warn(
      { host },
      "anyone who reaches this address may push and delete: see strata store user",
    );
  } else if (tls === undefined && publicUrl?.startsWith("https:") !== true) {
    logger.warn({ host }, "passwords travel in clear: see --tls-cert, or --public-url for a proxy");
  }
}

function startSweeping(registry: Registry, logger: RegistryLogger): Disposable {
  const timer = setInterval(() => {
    registry.sweepUploads().catch((err: unknown) => logger.error({ err }, "sweep failed"));
  }, SWEEP_INTERVAL_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** Users and certificates are replaced while we run. */
function startRefreshing(refreshes: readonly (() => void)[], logger: RegistryLogger): Disposable {
  const timer = setInterval(() => {
    for (const refresh of refreshes) {
      try {
        refresh();
      } catch (err) {
        logger.error(
          { err },
          "a file that was replaced cannot be used: the old one stays in force",
        );
      }
    }
  }, REFRESH_INTERVAL_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
