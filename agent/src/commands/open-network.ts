import type { NetworkClient } from "../controller-client.ts";
import { Ingress } from "../ingress/ingress.ts";
import { createNetworkFollower } from "../network-table/network-follower.ts";
import { ingressPorts, viewNetwork } from "../network-table/network-view.ts";
import { agentPaths } from "../paths.ts";
import type { Runtime } from "../runtime.ts";
import { openWakeServer, type WakeServer } from "../waker/wake-server.ts";
import type { CommandContext } from "./context.ts";

export type NodeNetwork = {
  /** The epoch whose word counts from now on. */
  readonly obey: (epoch: string) => void;
  /** Stops nothing of what was set up. */
  readonly close: () => Promise<void>;
};

export type NodeNetworkOptions = {
  readonly client: NetworkClient;
  readonly nodeId: string;
  /** One life of this program. */
  readonly bootId: string;
  /** The epoch whose word counts at first. */
  readonly epoch: string;
  /** Learns what there is to reach, and wakes what sleeps. */
  readonly runtime: Pick<Runtime, "getProcess" | "learn">;
};

/** All that the daemon makes of the network table. */
export function openNetwork(
  { config, logger, random }: CommandContext,
  { client, nodeId, bootId, runtime, ...told }: NodeNetworkOptions,
): NodeNetwork {
  let { epoch } = told;
  const { network: path, ingress: paths } = agentPaths(config);
  const follower = createNetworkFollower({ client, epoch: () => epoch, path, random, logger });
  const view = { nodeId, ingressPorts: ingressPorts(config) };
  void runtime.learn(viewNetwork(follower.state(), view));
  follower.subscribe((_, after) => void runtime.learn(viewNetwork(after, view)));
  let waker: WakeServer | undefined;
  const waking = openWakeServer({
    network: follower,
    nodeId,
    wakeProcess: (processId) => runtime.getProcess(processId)?.wakeUp() ?? false,
    wakeService: (service, signal) => client.wake({ service }, signal),
    random,
    socketPath: paths.wakerSocket,
    logger,
  }).then(
    (opened) => {
      waker = opened;
    },
    (error: unknown) => logger.error({ err: error }, "requests wake nothing here"),
  );
  const ingress = new Ingress(
    {
      nodeId,
      bootId,
      paths,
      client,
      logger,
      settings: config.ingress,
      woken: () => waker?.inFlight() ?? new Map(),
    },
    follower.state(),
  );
  follower.subscribe((_, after) => ingress.follow(after));
  const working = Promise.all([follower.run(), ingress.run()]);
  return {
    obey: (next) => {
      epoch = next;
    },
    close: async () => {
      follower.close();
      ingress.close();
      await working;
      await waking;
      await waker?.close();
    },
  };
}
