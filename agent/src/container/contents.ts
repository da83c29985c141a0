import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";

import type { ProcessSpec } from "@strata/protocol/agent/messages";

import { AgentError } from "../errors.ts";
import { type LxcEntry, renderLxcConfig } from "../lxc/config-writer.ts";
import { type ContentMount, pathOf, secretKey } from "./contents-plan.ts";
import type { SecretValues } from "./secret-keeper.ts";

/** What the supervisor is told of volumes, files and secrets. */
export type Contents = {
  /** For its file `launch`. */
  readonly lines: readonly (readonly [key: string, value: string])[];
  /** For its standard input: no byte of it touches a disk, an argument or an environment. Undefined when there is none. */
  readonly input: Buffer | undefined;
  /** Lines for a configuration that holds values of secrets. */
  readonly secretEnv: string;
};

export type ContentsRequest = {
  readonly spec: Pick<ProcessSpec, "tenant" | "secretEnv">;
  readonly mounts: readonly ContentMount[];
  readonly secrets: SecretValues;
  /** Folder of the named volumes of all tenants. */
  readonly volumes: string;
};

/** Makes the folders in which the supervisor makes named volumes, and says all that it mounts. One line for each mount:
 * kind, `ro` or `rw`, octal mode, size, path in hexadecimal, source in hexadecimal.
 * @throws AgentError SECRET_UNFIT */
export function prepareContents(request: ContentsRequest): Contents {
  const { mounts, secrets } = request;
  const secretEnv = renderSecretEnv(request.spec.secretEnv ?? {}, secrets);
  const files = mounts.flatMap((mount) =>
    mount.kind === "file" ? [contentOf(mount.file.content, secrets)] : [],
  );
  const lines = mounts.map((mount): readonly [string, string] => [
    "mount",
    describeMount(mount, request),
  ]);
  if (secretEnv === "" && files.length === 0) return { lines, input: undefined, secretEnv: "" };
  const input = encodeInput([Buffer.from(secretEnv), ...files]);
  return { lines: [...lines, ["input", "1"]], input, secretEnv };
}

/** The lines of a configuration for the variables whose values are secrets.
 * @throws AgentError SECRET_UNFIT */
function renderSecretEnv(
  secretEnv: NonNullable<ProcessSpec["secretEnv"]>,
  secrets: SecretValues,
): string {
  const entries = Object.entries(secretEnv).map(([variable, secret]): LxcEntry => {
    const value = secrets.get(secretKey(secret))?.toString("utf8") ?? "";
    // oxlint-disable-next-line no-control-regex -- these are exactly the characters to refuse
    if (/[\u0000\n\r\ufffd]/.test(value)) {
      throw new AgentError(
        "SECRET_UNFIT",
        `secret ${secret.name} cannot be the variable ${variable}: it is not one line of text`,
        { hint: "give it as a file, or put a value of one line" },
      );
    }
    return ["lxc.environment", `${variable}=${value}`];
  });
  return renderLxcConfig(entries);
}

function describeMount(
  mount: ContentMount,
  { spec, volumes }: Pick<ContentsRequest, "spec" | "volumes">,
): string {
  const line = (access: string, rest: { mode?: number; size?: number; source?: string }): string =>
    [
      mount.kind,
      access,
      (rest.mode ?? 0).toString(8),
      rest.size ?? 0,
      hex(pathOf(mount)),
      hex(rest.source ?? "-"),
    ].join(" ");
  switch (mount.kind) {
    case "named": {
      const source = join(volumes, spec.tenant, mount.volume.name);
      mkdirSync(dirname(source), { recursive: true, mode: 0o700 });
      return line(accessOf(mount.volume), { source });
    }
    case "host":
      return line(accessOf(mount.volume), { source: mount.volume.source });
    case "tmpfs":
      return line("rw", { size: mount.volume.sizeBytes });
    case "file":
      return line("ro", { mode: mount.file.mode });
    default:
      return mount satisfies never;
  }
}

function accessOf({ readOnly }: { readonly readOnly: boolean }): "ro" | "rw" {
  return readOnly ? "ro" : "rw";
}

function contentOf(
  content: Extract<ContentMount, { kind: "file" }>["file"]["content"],
  secrets: SecretValues,
): Buffer {
  if ("text" in content) return Buffer.from(content.text);
  const value = secrets.get(secretKey(content.secret));
  if (value === undefined) throw new Error(`secret ${content.secret.name} was not fetched`);
  return value;
}

function hex(text: string): string {
  return Buffer.from(text).toString("hex");
}

/** Each item with its length before it. */
function encodeInput(items: readonly Buffer[]): Buffer {
  return Buffer.concat(items.flatMap((item) => [Buffer.from(`${item.length}\n`), item]));
}
