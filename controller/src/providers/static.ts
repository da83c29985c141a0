/** Nodes that somebody else makes: they join by token, by hand or by cloud-init, and the controller makes none. */
import { ProviderError } from "./errors.ts";
import type { Provider } from "./provider.ts";

/** Has no VMs: `list` is empty, `describe` finds none, `create` refuses and says how a node joins. */
export function createStaticProvider(): Provider {
  return {
    create: async ({ partition }, signal) => {
      signal.throwIfAborted();
      throw new ProviderError(
        "PROVIDER_INVALID",
        `partition ${partition} has the provider static, which makes no VMs`,
        {
          hint:
            `make a join token with POST /v1/join-tokens {"partition": "${partition}"} and run its command on a machine, ` +
            `or give the partition policy a provider that makes VMs`,
        },
      );
    },
    delete: async (_id, signal) => signal.throwIfAborted(),
    list: async (signal) => {
      signal.throwIfAborted();
      return [];
    },
    describe: async (_id, signal) => {
      signal.throwIfAborted();
      return undefined;
    },
  };
}
