/** The providers as they are configured now. */
import { parseSettings } from "../operations/providers.ts";
import type { createProvider, ProviderContext } from "../providers/create-provider.ts";
import { ProviderError } from "../providers/errors.ts";
import type { Provider } from "../providers/provider.ts";
import type { Sql } from "../store/database.ts";
import { getProvider } from "../store/providers.ts";

/** As `createProvider`; a test has its own. `name` is the provider's. */
export type OpenProvider = (
  settings: Parameters<typeof createProvider>[0],
  context: ProviderContext & { readonly name: string },
) => Provider;

export type ProviderBook = {
  /** The same until somebody changes its settings.
   * @throws ProviderError PROVIDER_INVALID when there is none, or when a file that its settings name cannot be read. */
  readonly open: (sql: Sql, name: string) => Provider;
};

export function createProviderBook(
  openProvider: OpenProvider,
  context: ProviderContext,
): ProviderBook {
  const known = new Map<string, { readonly revision: number; readonly provider: Provider }>();
  return {
    open: (sql, name) => {
      const row = getProvider(sql, name);
      if (row === undefined)
        throw new ProviderError("PROVIDER_INVALID", `there is no provider ${name}`);
      const before = known.get(name);
      if (before?.revision === row.revision) return before.provider;
      const provider = openProvider(parseSettings(row), { ...context, name });
      known.set(name, { revision: row.revision, provider });
      return provider;
    },
  };
}
