import type { NetworkClient } from "../controller-client.ts";
import { createNetworkFollower } from "../network-table/network-follower.ts";
import { agentPaths } from "../paths.ts";
import type { CommandContext } from "./context.ts";

export type NodeNetwork = {
  /** The epoch whose word counts from now on. */
  readonly obey: (epoch: string) => void;
  /** Stops nothing of what was set up. */
  readonly close: () => Promise<void>;
};

/** All that the daemon makes of the network table. */
export function openNetwork(
  { config, logger, random }: CommandContext,
  { client, ...told }: { readonly client: NetworkClient; readonly epoch: string },
): NodeNetwork {
  let { epoch } = told;
  const { network: path } = agentPaths(config);
  const follower = createNetworkFollower({ client, epoch: () => epoch, path, random, logger });
  const following = follower.run();
  return {
    obey: (next) => {
      epoch = next;
    },
    close: async () => {
      follower.close();
      await following;
    },
  };
}
