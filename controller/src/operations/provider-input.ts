/** What a person writes to have a provider, and how it is shown again. */
import { FlavorsInput } from "@strata/protocol/api/providers";
import { z } from "zod";

import { ProviderSettings } from "../providers/create-provider.ts";

/** Checked, and kept as it was written: what a later version adds takes its default when it is read. */
const SettingsInput = z.looseObject({ kind: z.string() }).superRefine((settings, context) => {
  const { error } = ProviderSettings.safeParse(settings);
  for (const { message, path } of error?.issues ?? [])
    context.addIssue({ code: "custom", message, path: [...path] });
});

export const ProviderInput = z.strictObject({
  settings: SettingsInput,
  /** Sizes of VMs that it sells; partition policies name them. */
  flavors: FlavorsInput.default({}),
});
export type ProviderInput = z.output<typeof ProviderInput>;

/** Settings that tell a reader nothing that he should not know. */
const shownSettings: ReadonlySet<string> = new Set([
  "kind",
  "project",
  "instances",
  "privileged",
  "pool",
  "network",
  "firstBoot",
  "accelerator",
  "bridge",
  "timeout",
  "stopGrace",
]);

/** Everything else may be a credential, or a path of this machine. */
export function redactSettings(
  settings: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(settings).map(([key, value]) => [key, shownSettings.has(key) ? value : "(set)"]),
  );
}
