/** How a command comes into the container of a process. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { readOptionalFile } from "../durable-file.ts";
import { AgentError } from "../errors.ts";
import { type LxcEntry, renderLxcConfig } from "../lxc/config-writer.ts";
import { SECRET_ENV } from "./start.ts";

/** How a HOME of the image's or the assignment's own begins in the configuration. */
const HOME_LINE = `lxc.environment = "HOME=`;

export type AttachFiles = {
  /** Folder of the run. */
  readonly run: string;
  /** As `writeAttachConfig` gave it. */
  readonly config: string;
};

/** Writes the environment of a command to a file, because everybody on the host can read the arguments of a process, and
 * gives its path.
 * @throws AgentError NOT_RUNNING, CONTAINER_CONFIG_INVALID */
export function writeAttachConfig(
  run: string,
  { id, env }: { readonly id: string; readonly env: Readonly<Record<string, string>> },
): string {
  const config = readOptionalFile(join(run, "config"));
  if (config === undefined) throw gone();
  const base = config + (readOptionalFile(join(run, SECRET_ENV)) ?? "");
  const { home } = readUser(run);
  const entries = Object.entries({ ...(!base.includes(HOME_LINE) && { HOME: home }), ...env });
  const extra = renderLxcConfig(
    entries.map(([name, value]): LxcEntry => ["lxc.environment", `${name}=${value}`]),
  );
  const path = join(run, `exec-${id.replaceAll(/[^A-Za-z0-9-]/g, "_").slice(0, 100)}`);
  writeFileSync(path, base + extra, { mode: 0o600 });
  return path;
}

export type AttachWish = {
  readonly processId: string;
  readonly lxcPath: string;
  readonly command: readonly string[];
  /** It stays in the control groups that it was started in [it goes into the container's]. */
  readonly keepsGroups?: true;
};

/** The command line that runs a command with the ids, environment, limits and restrictions of the application.
 * @throws AgentError NOT_RUNNING */
export function attachCommand(
  { processId, lxcPath, command, keepsGroups }: AttachWish,
  { run, config }: AttachFiles,
): readonly string[] {
  const { uid, gid } = readUser(run);
  // The long form: the short one does not take what follows it, and gives every privilege.
  const attach = ["-n", processId, "-P", lxcPath, "-f", config, "--clear-env"];
  const groups = keepsGroups === true ? ["--elevated-privileges=CGROUP"] : [];
  return ["/usr/bin/lxc-attach", ...attach, ...groups, "-u", uid, "-g", gid, "--", ...command];
}

/** The application's, as the supervisor found it in the image. */
function readUser(run: string): {
  readonly uid: string;
  readonly gid: string;
  readonly home: string;
} {
  const [uid, gid, home] = (readOptionalFile(join(run, "user")) ?? "").trim().split(" ");
  if (uid === undefined || gid === undefined || home === undefined) throw gone();
  return { uid, gid, home };
}

function gone(): AgentError {
  return new AgentError("NOT_RUNNING", "the container is gone");
}
