import { normalize } from "node:path/posix";

import type { Port, ProcessSpec } from "@strata/protocol/agent/messages";
import type { ImageConfig } from "@strata/protocol/oci/image";

import { AgentError } from "../errors.ts";
import { getSignalNumber } from "../host/signals.ts";
import { type ContentMount, planContents, type TmpfsVolume } from "./contents-plan.ts";
import { isSystemContainer, systemFolders } from "./system-container.ts";

/** What to run inside the container: the image's config with the assignment's wishes on top. */
export type RunPlan = {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** As the image or the assignment says it: name or number, perhaps with a group. Resolved by the supervisor. */
  readonly user: string;
  readonly workingDir: string;
  readonly stopSignal: number;
  readonly ports: readonly Port[];
  readonly mounts: readonly ContentMount[];
  /** The image's files cannot be changed. */
  readonly readOnly: boolean;
  /** The command is PID 1 and an init. */
  readonly isSystem: boolean;
};

const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const EXPOSED_PORTS_MAX = 64;
const ENTRIES_MAX = 4096;

/** image-spec v1.1, "OCI Image Configuration", `config`. Pure.
 * @throws AgentError COMMAND_MISSING, CONTAINER_CONFIG_INVALID */
export function planRun(
  spec: ProcessSpec,
  image: ImageConfig,
  { hostname }: { readonly hostname: string },
): RunPlan {
  const config = image.config ?? {};
  const user = spec.user ?? config.User ?? "";
  if (/[^\x21-\x7e]/.test(user) || user.length > 256) {
    throw invalid("user", "use a name or number, with :group if you like");
  }
  const argv = planArgv(spec, config);
  const isSystem = isSystemContainer(spec.init, { argv, user });
  const readOnly = spec.readOnly === true;
  const stopSignal = spec.stopSignal ?? config.StopSignal ?? (isSystem ? "SIGPWR" : "SIGTERM");
  return {
    argv,
    env: {
      PATH: DEFAULT_PATH,
      HOSTNAME: hostname,
      ...parseEnv(config.Env ?? []),
      ...spec.env,
    },
    user,
    workingDir: planWorkingDir(spec.workingDir ?? config.WorkingDir ?? "/"),
    stopSignal: parseStopSignal(stopSignal),
    ports: spec.ports.length > 0 ? spec.ports : parseExposedPorts(config.ExposedPorts ?? {}),
    mounts: planContents(spec, [
      ...(isSystem ? systemFolders(spec.limits.memoryMaxBytes) : []),
      ...(readOnly ? memoryFolders(spec) : []),
    ]),
    readOnly,
    isSystem,
  };
}

/** Where programs write whose image is read-only, as with `podman run --read-only`; LXC makes /dev/shm. As large as the
 * memory that they are counted as. */
function memoryFolders({ limits }: ProcessSpec): readonly TmpfsVolume[] {
  return ["/tmp", "/run", "/var/tmp"].map((path) => ({
    kind: "tmpfs",
    path,
    sizeBytes: limits.memoryMaxBytes,
  }));
}

type Config = NonNullable<ImageConfig["config"]>;

function planArgv(spec: ProcessSpec, config: Config): readonly string[] {
  const entrypoint = spec.command ?? config.Entrypoint ?? [];
  const args = spec.args ?? (spec.command === undefined ? config.Cmd : undefined) ?? [];
  const argv = [...entrypoint, ...args];
  if (argv[0] === undefined || argv[0] === "") {
    throw new AgentError(
      "COMMAND_MISSING",
      "neither the image nor the cartridge says what to run",
      {
        hint: "set command on the cartridge, or Entrypoint or Cmd in the image",
      },
    );
  }
  if (argv.length > ENTRIES_MAX || argv.some((word) => word.includes("\0"))) {
    throw invalid("command", `at most ${ENTRIES_MAX} words, none with NUL`);
  }
  return argv;
}

function parseEnv(entries: readonly string[]): Readonly<Record<string, string>> {
  if (entries.length > ENTRIES_MAX) throw invalid("Env", `at most ${ENTRIES_MAX} entries`);
  return Object.fromEntries(
    entries.map((entry) => {
      const at = entry.indexOf("=");
      if (at < 1 || /[\0\n\r]/.test(entry)) throw invalid("Env", "write NAME=value on one line");
      return [entry.slice(0, at), entry.slice(at + 1)] as const;
    }),
  );
}

function planWorkingDir(path: string): string {
  if (/[\0\n\r]/.test(path) || path.length > 4096) throw invalid("working directory", "one line");
  // Relative means relative to the root; `..` at the root is the root.
  return normalize(`/${path}`);
}

/** `SIGTERM`, `TERM` or `15`. */
function parseStopSignal(text: string): number {
  const name = text.startsWith("SIG") ? text : `SIG${text}`;
  const number = /^\d{1,2}$/.test(text) ? Number(text) : getSignalNumber(name);
  if (number !== undefined && number >= 1 && number <= 64) return number;
  throw invalid("stop signal", "use a name such as SIGTERM");
}

/** `8080/tcp`, `53/udp` or `8080`. What is not a port is no use to anybody and is left out. */
function parseExposedPorts(exposed: Readonly<Record<string, unknown>>): readonly Port[] {
  return Object.keys(exposed)
    .flatMap((text): readonly Port[] => {
      const [, digits, protocol = "tcp"] = /^(\d{1,5})(?:\/(tcp|udp))?$/.exec(text) ?? [];
      const containerPort = Number(digits);
      return containerPort >= 1 && containerPort <= 65_535
        ? [
            {
              name: `${protocol}-${containerPort}`,
              containerPort,
              protocol: protocol === "udp" ? "udp" : "tcp",
            },
          ]
        : [];
    })
    .slice(0, EXPOSED_PORTS_MAX);
}

function invalid(what: string, hint: string): AgentError {
  return new AgentError("CONTAINER_CONFIG_INVALID", `the ${what} cannot be used`, { hint });
}
