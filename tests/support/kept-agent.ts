/** The agent as one binary, kept running by `scripts/supervise`, as a node of a controller of the test's. */
import { execFile, execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { closeSync, copyFileSync, existsSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

import { agentBinary } from "../../scripts/instance/services.ts";
import { root } from "../../scripts/root.ts";

export type KeptAgent = AsyncDisposable & {
  /** The file that it runs from: a copy of what the build made. */
  readonly binary: string;
  /** The pid of the agent that is kept now; undefined between two. */
  readonly pid: () => number | undefined;
  readonly log: () => string;
  /** Whether its keeper does not start it again. */
  readonly hasEnded: () => boolean;
  readonly readState: (name: string) => string | undefined;
};

/** Builds the agent where that is not done, and gives its path. */
export function builtAgent(): string {
  execFileSync(process.execPath, [join(root, "scripts/build.ts")]);
  return agentBinary;
}

export async function aKeptAgent(
  folder: string,
  {
    url,
    joinToken,
    number = 0,
  }: {
    readonly url: string;
    readonly joinToken: string;
    /** Tells it from others that run on this machine at the same time. */
    readonly number?: number;
  },
): Promise<KeptAgent> {
  const [bin, data, run] = ["bin", "node", "keeper"].map((name) =>
    join(folder, number === 0 ? name : `${name}-${number}`),
  );
  if (bin === undefined || data === undefined || run === undefined) throw new Error("no folders");
  for (const path of [bin, run]) mkdirSync(path);
  const binary = join(bin, "strata-agent");
  const logFile = join(run, "agent.log");
  copyFileSync(builtAgent(), binary);
  const env = {
    PATH: process.env["PATH"],
    STRATA_DATA: data,
    STRATA_BRIDGE: `u${randomBytes(3).toString("hex")}`,
    STRATA_SUBNET: `10.${100 + (process.pid % 100)}.${77 + number}.0/24`,
    STRATA_HOST_PORTS: `${25 + number}000-${25 + number}999`,
    STRATA_PEER_PORT: "0",
  };
  const joining = promisify(execFile)(binary, ["join", "--token", "-", "--controller", url], {
    env,
  });
  joining.child.stdin?.end(joinToken);
  await joining;
  const log = openSync(logFile, "a");
  const keeper = spawn(join(root, "scripts/supervise"), ["agent", run, logFile, binary, "run"], {
    env,
    stdio: ["ignore", log, log],
  });
  closeSync(log);
  return {
    binary,
    pid: () => {
      const path = join(run, "agent.pid");
      return existsSync(path) ? Number(readFileSync(path, "utf8")) : undefined;
    },
    log: () => readFileSync(logFile, "utf8"),
    hasEnded: () => keeper.exitCode !== null,
    readState: (name) => {
      const path = join(data, "agent", name);
      return existsSync(path) ? readFileSync(path, "utf8") : undefined;
    },
    [Symbol.asyncDispose]: async () => {
      const ended = keeper.exitCode === null ? once(keeper, "exit") : undefined;
      if (ended !== undefined) keeper.kill("SIGTERM");
      await ended;
      await promisify(execFile)(binary, ["purge"], { env });
    },
  };
}
