import type { Logger } from "pino";

import type { AgentConfig } from "../config.ts";
import type { NameServer } from "../names/name-server.ts";
import type { Network } from "../network/network.ts";
import type { AskTarget } from "./ask.ts";
import type { Ask } from "./health.ts";
import type { ImageSource } from "./image-source.ts";
import type { Resources } from "./resources.ts";
import type { SecretKeeper } from "./secret-keeper.ts";
import type { SpanLog } from "./span-log.ts";
import type { StartContext } from "./start.ts";

/** What all processes of a node share. */
export type ProcessServices = {
  readonly config: Pick<AgentConfig, "idBase">;
  readonly start: StartContext;
  readonly images: ImageSource;
  readonly network: Network;
  readonly names: NameServer;
  readonly resources: Resources;
  /** Rule 11: starts under way at once. */
  readonly starts: (work: () => Promise<void>) => Promise<void>;
  /** Asks the probes of a process. */
  readonly ask: (target: AskTarget) => Ask;
  readonly secrets: SecretKeeper;
  readonly spans: SpanLog;
  readonly logger: Logger;
  /** Of the kernel. */
  readonly bootId: string;
  /** The report of a process changed: `now` when somebody waits for it, `soon` when it may be gathered with others. */
  readonly onChange: (urgency: "now" | "soon") => void;
  readonly onForgotten: (processId: string) => void;
};
