import { z } from "zod";

import { createExecProvider, ExecSettings } from "./exec.ts";
import { IncusSettings } from "./incus-settings.ts";
import { createIncusProvider } from "./incus.ts";
import type { Provider } from "./provider.ts";
import { QemuSettings } from "./qemu-settings.ts";
import { createQemuProvider } from "./qemu.ts";
import { createStaticProvider } from "./static.ts";

const StaticSettings = z.strictObject({ kind: z.literal("static") });

/** What a person writes to have a provider: one shape for each kind, told apart by `kind`. Who may write it may run
 * programs on this machine. */
export const ProviderSettings = z.discriminatedUnion("kind", [
  StaticSettings,
  IncusSettings,
  QemuSettings,
  ExecSettings,
]);
export type ProviderSettings = z.infer<typeof ProviderSettings>;

export type ProviderContext = {
  /** Tags every VM. The same for the life of this controller's data, restores included. */
  readonly controllerId: string;
  /** Where the provider `qemu` keeps its VMs. */
  readonly vmFolder: string;
};

/** Makes the provider; reads the files that its settings name, and connects to nothing yet.
 * @throws ProviderError PROVIDER_INVALID */
export function createProvider(settings: ProviderSettings, context: ProviderContext): Provider {
  const { controllerId, vmFolder } = context;
  switch (settings.kind) {
    case "static":
      return createStaticProvider();
    case "incus":
      return createIncusProvider({ controllerId, settings });
    case "qemu":
      return createQemuProvider({ controllerId, settings, folder: vmFolder });
    case "exec":
      return createExecProvider({ controllerId, settings });
    default:
      return settings satisfies never;
  }
}
