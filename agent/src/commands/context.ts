import type { Logger } from "pino";

import type { Clock } from "../clock.ts";
import type { AgentConfig } from "../config.ts";

/** What `main.ts` hands to every subcommand. */
export type CommandContext = {
  readonly config: AgentConfig;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** Between 0 and 1. */
  readonly random: () => number;
  /** 16 lower-case hexadecimal digits. */
  readonly newId: () => string;
  readonly logger: Logger;
};

/** A subcommand that needs the agent's settings. Resolves with the exit status. */
export type Command = {
  readonly name: string;
  readonly summary: string;
  readonly run: (argv: readonly string[], context: CommandContext) => Promise<number>;
};
