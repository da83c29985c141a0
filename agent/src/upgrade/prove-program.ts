import { AgentError } from "../errors.ts";
import { type Environment, runAgentCommand, type RunResult } from "../host/run-agent.ts";

/** Whether the program can be run here and finds all that it needs, before anything depends on it.
 * @throws AgentError UPGRADE_REFUSED, TOOL_FAILED */
export async function proveProgram(file: string, environment: Environment): Promise<void> {
  const version = await runAgentCommand(file, ["version"], environment);
  if (version.code !== 0 || !/^strata-agent \S{1,64}\s*$/.test(version.output))
    throw refused("is no agent that runs here", version);
  const check = await runAgentCommand(file, ["check", "--json"], environment);
  if (check.code !== 0) throw refused("misses something of this machine", check);
}

function refused(what: string, { code, output }: RunResult): AgentError {
  const said = output.trim().replaceAll(/\s+/g, " ").slice(0, 500);
  return new AgentError("UPGRADE_REFUSED", `the new program ${what}: ended with ${code}: ${said}`, {
    hint: "the present agent goes on; give the controller a program for this machine",
  });
}
