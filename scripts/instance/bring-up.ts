import { createApi, isReady } from "./api.ts";
import { HELLO, runHello } from "./hello.ts";
import { findRoute } from "./ingress.ts";
import { isInstalled, type Instance, saveInstance } from "./instance.ts";
import { createKeeper } from "./keepers.ts";
import { startNode } from "./node.ts";
import { controllerService } from "./services.ts";
import { type Context, startService } from "./start-service.ts";
import { describeInstance } from "./tour.ts";

/** Brings controller, store, one node and the hello cartridge to where they answer. Repeating it changes nothing.
 * @throws SetupError naming the step that failed, what was said there, and the remedy. */
export async function bringUp(instance: Instance, say: Context["say"]): Promise<void> {
  const startedAt = performance.now();
  const wasInstalled = isInstalled(instance);
  saveInstance(instance);
  const context: Context = { instance, keeper: createKeeper(instance), say };

  const isNewController = await startController(context);
  const api = createApi(instance);
  const isNewNode = await startNode(context, api);
  const hello = await runHello(context, api);
  // To ask for one that was scaled to 0 would wake it.
  const route = hello.answers ? await findRoute(instance, api, HELLO) : undefined;
  if (route !== undefined) say(`ingress     answers at ${route}`);
  else if (hello.answers)
    say("ingress     does not answer: strata get nodes shows who has the role");

  const isSame = wasInstalled && !isNewController && !isNewNode && !hello.isChanged;
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  say(isSame ? `Nothing to change; looked in ${seconds} s.` : `Up in ${seconds} s.`);
  say(describeInstance(context, { hello: hello.url, route }));
}

/** True when it had to be started. */
async function startController(context: Context): Promise<boolean> {
  const { instance, say } = context;
  const { state } = await startService(context, controllerService(instance), {
    probe: async () => ((await isReady(instance)) ? true : undefined),
    remedy: `If port ${instance.settings["STRATA_PORT"]} is taken, set STRATA_PORT to another one.`,
  });
  say(`controller  ${state}, ready at ${instance.url}`);
  return state !== "running";
}
