/** How to run a cartridge: its own defaults, and what a subscription says instead. */
import type {
  ContainerFile,
  Limits,
  Port,
  ProcessSpec,
  SecretReference,
  Volume,
} from "@strata/protocol/agent/messages";
import type { Digest } from "@strata/protocol/oci/digest";

import { type ProbeWishes, resolveProbes } from "./probes.ts";

/** A port that the image itself exposes. */
export type ImagePort = { readonly containerPort: number; readonly protocol: "tcp" | "udp" };

/** A file of a container as it was asked for: of a secret it says the name alone. */
export type WantedFile = Pick<ContainerFile, "path" | "mode"> & {
  readonly content: { readonly text: string } | { readonly secret: string };
};

/** Null, or left out, leaves a field to the cartridge, and in a cartridge to the image. Times in milliseconds, sizes in
 * bytes. */
export type Running = ProbeWishes & {
  readonly command: readonly string[] | null;
  readonly args: readonly string[] | null;
  readonly env: Readonly<Record<string, string>>;
  readonly user: string | null;
  readonly workingDir: string | null;
  readonly ports: readonly Port[] | null;
  readonly limits: Readonly<Limits> | null;
  readonly stopGraceMs: number | null;
  readonly readOnly?: boolean;
  readonly init?: NonNullable<ProcessSpec["init"]>;
  readonly volumes?: readonly Volume[];
  readonly files?: readonly WantedFile[];
  /** Variable and name of the secret. */
  readonly secretEnv?: Readonly<Record<string, string>>;
};

export const defaultLimits: Limits = {
  memoryMaxBytes: 256 * 1024 * 1024,
  cpuMaxMillis: 1000,
  pidsMax: 512,
};
const DEFAULT_STOP_GRACE_MS = 10_000;

export type SpecSources = {
  readonly subscription: {
    readonly tenant: string;
    readonly alias: string;
    readonly running: Running;
  };
  readonly cartridge: {
    readonly name: string;
    readonly repository: string;
    readonly digest: Digest;
    readonly imagePorts: readonly ImagePort[];
    readonly running: Running;
  };
  /** The version of a secret that is to be used. */
  readonly secret: (name: string) => SecretReference;
};

/** What a process of the subscription runs. The subscription wins over its cartridge field by field, in `env` name by
 * name; the agent fills what is still open from the image. */
export function resolveSpec({ subscription, cartridge, secret }: SpecSources): ProcessSpec {
  const own = subscription.running;
  const base = cartridge.running;
  // A command replaces the whole command line, so arguments meant for another command must not stay behind.
  const args = own.args ?? (own.command === null ? base.args : null);
  const command = own.command ?? base.command;
  const user = own.user ?? base.user;
  const workingDir = own.workingDir ?? base.workingDir;
  return {
    tenant: subscription.tenant,
    subscription: subscription.alias,
    cartridge: cartridge.name,
    image: { repository: cartridge.repository, digest: cartridge.digest },
    ...(command === null ? {} : { command: [...command] }),
    ...(args === null ? {} : { args: [...args] }),
    env: { ...base.env, ...own.env },
    ...(user === null ? {} : { user }),
    ...(workingDir === null ? {} : { workingDir }),
    ports: [...(own.ports ?? base.ports ?? cartridge.imagePorts.map(namePort))],
    ...resolveProbes(own, base),
    limits: { ...(own.limits ?? base.limits ?? defaultLimits) },
    stopGraceMs: own.stopGraceMs ?? base.stopGraceMs ?? DEFAULT_STOP_GRACE_MS,
    ...resolveContents(own, base, secret),
  };
}

/** What a process finds in its container beside the image. */
function resolveContents(
  own: Running,
  base: Running,
  secret: SpecSources["secret"],
): Pick<ProcessSpec, "readOnly" | "init" | "volumes" | "files" | "secretEnv"> {
  const readOnly = own.readOnly ?? base.readOnly;
  const init = own.init ?? base.init;
  const volumes = own.volumes ?? base.volumes;
  const files = own.files ?? base.files;
  const secretEnv = Object.entries({ ...base.secretEnv, ...own.secretEnv });
  return {
    ...(readOnly === undefined ? {} : { readOnly }),
    ...(init === undefined ? {} : { init }),
    ...(volumes === undefined ? {} : { volumes: [...volumes] }),
    ...(files === undefined
      ? {}
      : {
          files: files.map(({ content, ...file }) => ({
            ...file,
            content: "text" in content ? content : { secret: secret(content.secret) },
          })),
        }),
    ...(secretEnv.length === 0
      ? {}
      : {
          secretEnv: Object.fromEntries(secretEnv.map(([name, value]) => [name, secret(value)])),
        }),
  };
}

function namePort({ containerPort, protocol }: ImagePort): Port {
  return { name: `${protocol}-${containerPort}`, containerPort, protocol };
}
