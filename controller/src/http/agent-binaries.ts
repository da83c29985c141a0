import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

export type AgentBinary = {
  readonly size: number;
  readonly mtimeMs: number;
  readonly sha256: string;
};

/** The agents that this controller serves. */
export type AgentBinaries = {
  readonly fileOf: (platform: string) => string;
  /** Undefined when there is none. Hashed once, and again when the file changes. */
  readonly describe: (platform: string) => Promise<AgentBinary | undefined>;
};

const READ_BYTES = 1024 * 1024;

export function createAgentBinaries(directory: string): AgentBinaries {
  const known = new Map<string, AgentBinary>();
  const fileOf = (platform: string): string => join(directory, `strata-agent-${platform}`);
  return {
    fileOf,
    describe: async (platform) => {
      const file = fileOf(platform);
      const found = await stat(file).catch(() => undefined);
      if (found?.isFile() !== true) return undefined;
      const { size, mtimeMs } = found;
      const cached = known.get(file);
      if (cached?.size === size && cached.mtimeMs === mtimeMs) return cached;
      const hash = createHash("sha256");
      await pipeline(createReadStream(file, { highWaterMark: READ_BYTES }), hash);
      const binary = { size, mtimeMs, sha256: hash.digest("hex") };
      known.set(file, binary);
      return binary;
    },
  };
}
