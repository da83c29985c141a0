import { runTool } from "../host/run-tool.ts";
import { type NftObjects, noObjects, renderChange } from "./nft-objects.ts";
import type { PolicyNetwork } from "./policy-parts.ts";
import { createPlanner } from "./policy.ts";
import { removeTables, renderRuleset } from "./ruleset.ts";
import type { LocalContainer, NetworkView } from "./view.ts";

/** The nft tables of this node, kept as containers, services and name server want them. Changes that come while nft works
 * are carried out together by the next one. */
export type Firewall = {
  /** Loads everything anew. `mac` is the bridge's.
   * @throws AgentError TOOL_FAILED */
  readonly replace: (mac: string, containers: ReadonlyMap<string, LocalContainer>) => Promise<void>;
  /** Both resolve when the kernel has it.
   * @throws AgentError TOOL_FAILED */
  readonly admit: (processId: string, container: LocalContainer) => Promise<void>;
  readonly dismiss: (processId: string) => Promise<void>;
  /** @throws AgentError TOOL_FAILED */
  readonly learn: (view: NetworkView) => Promise<void>;
  /** @throws AgentError TOOL_FAILED */
  readonly setResolver: (port: number | undefined) => Promise<void>;
  readonly isLoaded: () => Promise<boolean>;
  readonly remove: () => Promise<void>;
};

export function createFirewall(network: PolicyNetwork, firstView: NetworkView): Firewall {
  const { bridge, hostPorts } = network;
  const plan = createPlanner(network);
  const containers = new Map<string, LocalContainer>();
  let view = firstView;
  let resolverPort: number | undefined;
  let bridgeMac: string | undefined;
  /** What the kernel has; undefined when that is not known. */
  let loaded: NftObjects | undefined;
  let tail: Promise<void> = Promise.resolve();
  let next: Promise<void> | undefined;

  const loadAll = async (objects: NftObjects, mac: string): Promise<void> => {
    loaded = undefined;
    await nft(renderRuleset(network, { objects, mac, hostPorts }));
    loaded = objects;
  };
  const update = async (): Promise<void> => {
    // Nothing is loaded before the bridge is there; whoever makes it loads everything.
    if (bridgeMac === undefined) return;
    const objects = plan({ view, containers: containers.values(), resolverPort });
    if (loaded === undefined) return await loadAll(objects, bridgeMac);
    const change = renderChange(bridge, loaded, objects);
    try {
      if (change !== "") await nft(change);
      loaded = objects;
    } catch {
      // Somebody else has changed the tables.
      await loadAll(objects, bridgeMac);
    }
  };
  const sync = (): Promise<void> => {
    next ??= tail.then(async () => {
      next = undefined;
      await update();
    });
    tail = next.catch(() => undefined);
    return next;
  };

  return {
    replace: (mac, all) => {
      bridgeMac = mac;
      containers.clear();
      for (const [processId, container] of all) containers.set(processId, container);
      loaded = undefined;
      return sync();
    },
    admit: (processId, container) => {
      containers.set(processId, container);
      return sync();
    },
    dismiss: async (processId) => {
      if (containers.delete(processId)) await sync();
    },
    learn: (told) => {
      view = told;
      return sync();
    },
    setResolver: (port) => {
      resolverPort = port;
      return sync();
    },
    isLoaded: () => hasTables(bridge),
    remove: async () => {
      bridgeMac = undefined;
      await tail;
      loaded = noObjects;
      await nft(removeTables(bridge));
    },
  };
}

async function hasTables(bridge: string): Promise<boolean> {
  for (const [kind = "", family = "", name = ""] of [
    ["map", "inet", "ports"],
    ["set", "bridge", "own"],
  ]) {
    const { code } = await runTool("nft", ["list", kind, family, bridge, name], {
      okCodes: [0, 1],
    });
    if (code !== 0) return false;
  }
  return true;
}

async function nft(input: string): Promise<void> {
  await runTool("nft", ["-f", "-"], { input });
}
