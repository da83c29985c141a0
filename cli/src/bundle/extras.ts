/** What a bundle carries beside images: the agent, and resources for `strata apply`. */
import { Readable } from "node:stream";

import type { Cartridge } from "@strata/protocol/api/resources";
import { digestHex, isDigest } from "@strata/protocol/oci/digest";
import { parseReference, type Reference } from "@strata/protocol/oci/reference";
import { stringify } from "yaml";

import type { ApiClient } from "../api/client.ts";
import { listResources } from "../api/resource.ts";
import { CliError } from "../errors.ts";
import { discard, headerOf, type StoreClient } from "../store/client.ts";
import { download } from "../store/download.ts";
import { sha256Of } from "./contents.ts";
import type { ExtraFile } from "./create.ts";

const RESOURCES_FILE = "strata/resources.yaml";
const platforms = ["linux-amd64", "linux-arm64"] as const;

/** The agent for each platform that the controller has it for.
 * @throws CliError REFUSED when it has none */
export async function findAgents(
  store: StoreClient,
  signal: AbortSignal,
): Promise<readonly ExtraFile[]> {
  const found: ExtraFile[] = [];
  for (const platform of platforms) {
    const path = `/v1/agent/${platform}`;
    const answer = await store.open({ method: "GET", path });
    discard(answer);
    const digest = `sha256:${headerOf(answer, "x-checksum-sha256") ?? ""}`;
    const size = Number(headerOf(answer, "content-length") ?? 0);
    if (answer.status !== 200 || !isDigest(digest)) continue;
    const open = (): Readable =>
      Readable.from(download(store, { path, digest, size }, signal), { objectMode: false });
    found.push({ path: `strata/strata-agent-${platform}`, digest, size, open });
  }
  if (found.length > 0) return found;
  throw new CliError("REFUSED", "the controller has no binary of the agent", {
    hint: "build it there with: pnpm build; or leave --agent out",
  });
}

type Shown = { readonly name: string };

/** Policies, and the cartridges of these images with the partitions that they name, in the order in which
 * `strata apply` wants them. Nothing chosen means all images. */
export async function readResources(
  client: ApiClient,
  references: readonly Reference[],
): Promise<ExtraFile> {
  const all = await listResources<Cartridge>(client, "/v1/cartridges");
  const isChosen = ({ image }: Cartridge): boolean =>
    references.length === 0 || references.some((chosen) => isSame(chosen, parseReference(image)));
  const cartridges = all.filter(isChosen);
  const named = new Set(cartridges.map(({ partition }) => partition));
  const partitions = await listResources<Shown>(client, "/v1/partitions");
  const documents = [
    ...documentsOf("PartitionPolicy", await listResources(client, "/v1/partition-policies")),
    ...documentsOf("ScalingPolicy", await listResources(client, "/v1/scaling-policies")),
    ...documentsOf(
      "Partition",
      partitions.filter(({ name }) => named.has(name)),
    ),
    ...documentsOf("Cartridge", cartridges),
  ];
  const bytes = Buffer.from(documents.map((document) => stringify(document)).join("---\n"));
  const open = (): Readable => Readable.from([bytes], { objectMode: false });
  return { path: RESOURCES_FILE, digest: sha256Of(bytes), size: bytes.length, open };
}

function isSame(left: Reference, right: Reference): boolean {
  return (
    left.repository === right.repository &&
    ("tag" in left
      ? "tag" in right && left.tag === right.tag
      : "digest" in right && digestHex(left.digest) === digestHex(right.digest))
  );
}

/** What the server sets, and what is unset, is not part of a wish. */
const shownOnly: ReadonlySet<string> = new Set([
  "digest",
  "revision",
  "createdAt",
  "updatedAt",
  "status",
]);

function documentsOf(kind: string, items: readonly object[]): readonly object[] {
  return items.map((item) => ({
    kind,
    ...Object.fromEntries(
      Object.entries(item).filter(([key, value]) => !shownOnly.has(key) && value !== null),
    ),
  }));
}
