import type { NetworkClient } from "../controller-client.ts";
import { Ingress } from "../ingress/ingress.ts";
import { createNetworkFollower } from "../network-table/network-follower.ts";
import { agentPaths } from "../paths.ts";
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
};

/** All that the daemon makes of the network table. */
export function openNetwork(
  { config, logger, random }: CommandContext,
  { client, nodeId, bootId, ...told }: NodeNetworkOptions,
): NodeNetwork {
  let { epoch } = told;
  const { network: path, ingress: paths } = agentPaths(config);
  const follower = createNetworkFollower({ client, epoch: () => epoch, path, random, logger });
  const ingress = new Ingress(
    { nodeId, bootId, settings: config.ingress, paths, client, logger },
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
    },
  };
}
