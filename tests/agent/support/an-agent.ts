import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(new URL("../../../agent/src/main.ts", import.meta.url));
const deno = fileURLToPath(new URL("../../../agent/node_modules/.bin/deno", import.meta.url));

/** The real program as a process of its own, in names of its own. */
export type TestAgent = AsyncDisposable & {
  readonly environment: Readonly<Record<string, string>>;
  /** Runs one subcommand to its end. */
  readonly run: (...argv: readonly string[]) => Promise<{ code: number; output: string }>;
  /** Starts the daemon; `kill` ends it and waits until it is gone. */
  readonly start: () => {
    readonly pid: number | undefined;
    readonly kill: (signal: NodeJS.Signals) => Promise<void>;
  };
  readonly writeToken: (token: string) => string;
};

export type AgentRuntime = "node" | "deno";

const programs: Readonly<Record<AgentRuntime, readonly string[]>> = {
  node: [process.execPath, main],
  deno: [deno, "run", "-A", main],
};

export type TestAgentOptions = {
  readonly runtime?: AgentRuntime;
  readonly environment?: Readonly<Record<string, string>>;
  /** Where the daemon's own log goes [this program's standard error]. */
  readonly logFd?: number;
};

let agents = 0;

export function anAgent(
  folder: string,
  { runtime = "node", environment: wishes = {}, logFd }: TestAgentOptions = {},
): TestAgent {
  agents += 1;
  const environment = {
    PATH: process.env.PATH ?? "",
    HOME: folder,
    STRATA_DATA: join(folder, "agent-data"),
    STRATA_BRIDGE: `a${randomBytes(3).toString("hex")}`,
    STRATA_SUBNET: `10.${100 + (process.pid % 100)}.${200 + agents}.0/24`,
    STRATA_HOST_PORTS: "24000-24999",
    STRATA_PEER_PORT: "0",
    STRATA_LOG_LEVEL: "warn",
    ...wishes,
  };
  const daemons = new Set<ChildProcess>();
  const launch = (argv: readonly string[], output: "pipe" | number = "pipe"): ChildProcess => {
    const [program = "", ...args] = programs[runtime];
    return spawn(program, [...args, ...argv], {
      env: environment,
      stdio: ["ignore", output, output],
    });
  };
  const run: TestAgent["run"] = async (...argv) => {
    const child = launch(argv);
    let output = "";
    child.stdout?.on("data", (chunk) => (output += String(chunk)));
    child.stderr?.on("data", (chunk) => (output += String(chunk)));
    const [code] = await once(child, "close");
    return { code: Number(code), output };
  };
  return {
    environment,
    run,
    start: () => {
      const child = launch(["run"], logFd ?? process.stderr.fd);
      daemons.add(child);
      return {
        pid: child.pid,
        kill: async (signal) => {
          if (child.exitCode === null && child.signalCode === null) {
            child.kill(signal);
            await once(child, "exit");
          }
          daemons.delete(child);
        },
      };
    },
    writeToken: (token) => {
      const path = join(folder, "token");
      writeFileSync(path, token, { mode: 0o600 });
      return path;
    },
    [Symbol.asyncDispose]: async () => {
      for (const child of daemons) {
        child.kill("SIGKILL");
        if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
      }
      const { code, output } = await run("purge");
      if (code !== 0) throw new Error(`purge: ${output}`);
    },
  };
}

/** The agent's own file, or undefined. */
export function readAgentFile(agent: TestAgent, name: string): string | undefined {
  const path = join(agent.environment.STRATA_DATA ?? "", "agent", name);
  return existsSync(path) ? readFileSync(path, "utf8") : undefined;
}
