/** The two JSON documents of an image: its config and its manifest. Pure. */
import type { ProbeInput } from "@strata/protocol/api/probes";
import type { Descriptor } from "@strata/protocol/oci/image";
import { mediaTypes } from "@strata/protocol/oci/media-type";

import type { Layer } from "./layer.ts";
import type { Recipe } from "./recipe.ts";

/** Labels with the probes of the recipe as JSON: what `--register` makes the cartridge with. */
export const probeLabels = {
  health: "io.strata.health",
  startup: "io.strata.startup",
  liveness: "io.strata.liveness",
} as const;
const TITLE_LABEL = "org.opencontainers.image.title";
const DESCRIPTION_LABEL = "org.opencontainers.image.description";

export type BuiltLayer = Layer & { readonly createdBy: string };

/** `architecture` is the GOARCH of what is inside, as OCI wants it. */
export function imageConfig(
  recipe: Recipe,
  layers: readonly BuiltLayer[],
  options: { readonly architecture: string; readonly epochSeconds: number },
): object {
  const created = new Date(options.epochSeconds * 1000).toISOString();
  return {
    created,
    architecture: options.architecture,
    os: "linux",
    config: {
      ...(recipe.user === "" ? {} : { User: recipe.user }),
      ...(recipe.ports.length === 0
        ? {}
        : { ExposedPorts: Object.fromEntries(recipe.ports.toSorted().map((port) => [port, {}])) }),
      Env: environmentOf(recipe),
      ...(recipe.command.length === 0 ? {} : { Entrypoint: recipe.command }),
      ...(recipe.args.length === 0 ? {} : { Cmd: recipe.args }),
      WorkingDir: recipe.workingDir,
      Labels: labelsOf(recipe),
      StopSignal: recipe.stopSignal,
    },
    rootfs: { type: "layers", diff_ids: layers.map((layer) => layer.diffId) },
    history: layers.map((layer) => ({ created, created_by: layer.createdBy })),
  };
}

export function imageManifest(config: Descriptor, layers: readonly BuiltLayer[]): object {
  return {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config,
    layers: layers.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
  };
}

function environmentOf(recipe: Recipe): readonly string[] {
  const env = {
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ...recipe.env,
  };
  return Object.entries(env).map(([name, value]) => `${name}=${value}`);
}

function labelsOf(recipe: Recipe): Readonly<Record<string, string>> {
  const labels = {
    [TITLE_LABEL]: recipe.name,
    ...(recipe.description === "" ? {} : { [DESCRIPTION_LABEL]: recipe.description }),
    ...probeLabel("health", recipe.health),
    ...probeLabel("startup", recipe.startup),
    ...probeLabel("liveness", recipe.liveness),
    ...recipe.labels,
  };
  return Object.fromEntries(Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** Written as a PUT wants it, with units: parsed, it holds milliseconds. */
function probeLabel(
  name: keyof typeof probeLabels,
  probe: ProbeInput | undefined,
): Readonly<Record<string, string>> {
  if (probe === undefined) return {};
  const text = probe.kind === "none" ? probe : withUnits(probe);
  return { [probeLabels[name]]: JSON.stringify(text) };
}

function withUnits({ interval, timeout, ...probe }: Exclude<ProbeInput, { kind: "none" }>): object {
  return { ...probe, interval: `${interval}ms`, timeout: `${timeout}ms` };
}
