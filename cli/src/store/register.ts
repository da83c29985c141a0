/** Makes a pushed image the one that a cartridge runs. */
import { readFile } from "node:fs/promises";

import type { Cartridge } from "@strata/protocol/api/resources";
import { type Descriptor, ImageConfig, ImageManifest } from "@strata/protocol/oci/image";
import { isIndex } from "@strata/protocol/oci/media-type";

import { createApiClient } from "../api/client.ts";
import { isNotFound } from "../api/refusal.ts";
import { getResource, sendResource } from "../api/resource.ts";
import { probeLabels } from "../cartridge/image.ts";
import { blobPath, parseJson, readManifestBytes } from "../cartridge/layout.ts";
import type { Connection } from "../settings/connection.ts";

export type Registration = {
  readonly repository: string;
  readonly tag: string;
  readonly layout: string;
  readonly image: Descriptor;
};

/** Creates the cartridge that has the repository's last name with the probes of its recipe, or, where there
 * is one, changes its image and leaves all else as it is. */
export async function registerCartridge(
  { repository, tag, layout, image }: Registration,
  connection: Connection,
  signal: AbortSignal,
): Promise<void> {
  const client = createApiClient(connection, signal);
  const name = repository.slice(repository.lastIndexOf("/") + 1);
  const path = `/v1/cartridges/${name}`;
  const known = await getResource<Cartridge>(client, path).catch((error: unknown) => {
    if (isNotFound(error)) return undefined;
    throw error;
  });
  const fields = known === undefined ? await readProbes(layout, image) : writableFields(known);
  await sendResource(client, {
    method: "PUT",
    path,
    body: { ...fields, image: `${repository}:${tag}` },
  });
}

/** What a PUT takes of what a GET gives: not what the server sets, and not what is unset. */
function writableFields({
  name: _name,
  digest: _digest,
  revision: _revision,
  createdAt: _createdAt,
  updatedAt: _updatedAt,
  ...fields
}: Cartridge): object {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));
}

async function readProbes(layout: string, image: Descriptor): Promise<object> {
  if (isIndex(image.mediaType)) return {};
  const bytes = await readManifestBytes(layout, image);
  const { config } = ImageManifest.parse(parseJson(bytes.toString(), image.digest));
  const text = await readFile(blobPath(layout, config.digest), "utf8");
  const labels = ImageConfig.parse(parseJson(text, config.digest)).config?.Labels ?? {};
  const probes = Object.entries(probeLabels).flatMap(([name, label]) => {
    const probe = labels[label];
    return probe === undefined ? [] : [[name, parseJson(probe, `label ${label}`)] as const];
  });
  return Object.fromEntries(probes);
}
