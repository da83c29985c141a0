import { join } from "node:path";

import { openBlobCache } from "@strata/agent/image/blob-cache";
import { createImageStore } from "@strata/agent/image/image-store";
import { createRegistryClient } from "@strata/agent/image/registry-client";
import { type Digest, parseDigest } from "@strata/protocol/oci/digest";
import { mediaTypes } from "@strata/protocol/oci/media-type";
import { Agent, request } from "undici";

import { root } from "../root.ts";
import type { Bench, BenchReport, Contestant } from "./bench.ts";
import { goalAtMost, interleave, summarize, timeMs } from "./measure.ts";
import { makePullImages, type PullImage } from "./pull-images.ts";
import { pigzAndTar, podman, skopeoAndUmoci, tarOnly } from "./pull-peers.ts";
import { runPeer } from "./run-peer.ts";
import { settled } from "./settled.ts";
import { aStrataStore } from "./store-servers.ts";

/** Ours, podman, and skopeo with umoci pull the same image from the same registry over plain HTTP, into a new folder
 * each time, to files that a container could run on. Ours syncs the disk and checks every digest; the time counts all
 * of it. The floors only unpack. Nothing is deleted between the rounds: an ext4 without a journal looks for long for an
 * inode that was not deleted lately. */
export const bench: Bench = {
  name: "pull",
  summary:
    "From a registry on this machine to a root file system: 4 MB in two layers, a Debian of 234 MB in one, 600 MB in 20",
  rounds: 5,
  run: async ({ rounds, say, folder }) => {
    say("building the agent and the images");
    await runPeer(process.execPath, join(root, "scripts/build.ts"));
    const images = await makePullImages(join(folder, "images"));
    await using registry = await aStrataStore(join(folder, "registry"));
    const reports: BenchReport[] = [];
    for (const image of images) {
      say(`image ${image.name}`);
      reports.push(
        await pullImage(image, {
          rounds,
          say,
          url: registry.url,
          folder: join(folder, image.name),
        }),
      );
    }
    return {
      results: reports.flatMap(({ results }) => results),
      goals: reports.flatMap(({ goals }) => goals),
    };
  },
};

async function pullImage(
  image: PullImage,
  {
    rounds,
    say,
    url,
    folder,
  }: {
    readonly rounds: number;
    readonly say: (line: string) => void;
    readonly url: string;
    readonly folder: string;
  },
): Promise<BenchReport> {
  const repository = `bench/${image.name}`;
  const reference = `${new URL(url).host}/${repository}:latest`;
  const target = `docker://${reference}`;
  await runPeer("skopeo", "copy", "--dest-tls-verify=false", `oci:${image.layout}`, target);
  const contestants = [
    aStore({ url, repository, folder: join(folder, "ours") }),
    podman(reference, join(folder, "podman")),
    skopeoAndUmoci(reference, join(folder, "umoci")),
    tarOnly(image, join(folder, "tar")),
    pigzAndTar(image, join(folder, "pigz")),
  ];
  const samples = await interleave(contestants.map(settled), { rounds, say });
  const result = summarize(`pull ${image.name}`, "ms", samples);
  return {
    results: [result],
    goals: [
      goalAtMost(result, "podman", 0.25),
      goalAtMost(result, "skopeo+umoci", 0.3),
      goalAtMost(result, "tar -xzf", 0.7),
    ],
  };
}

/** The image store of the agent, which keeps the blobs for other nodes as well, with the shipped binary to unpack. */
function aStore(options: {
  readonly url: string;
  readonly repository: string;
  readonly folder: string;
}): Contestant {
  const { url, repository, folder } = options;
  const file = join(root, `dist/strata-agent-linux-${architecture()}`);
  return {
    name: "strata",
    measure: async (round) => {
      const digest = await digestOf(url, repository);
      const dispatcher = new Agent();
      const taken = await timeMs(async () => {
        const directory = join(folder, String(round));
        const logger = { info: () => undefined, warn: () => undefined };
        const bytesMax = 4 * 1024 ** 3;
        const blobs = openBlobCache({
          directory: join(directory, "blobs"),
          bytesMax,
          clock: Date.now,
          logger,
        });
        const store = createImageStore({
          directory,
          blobs,
          client: createRegistryClient({ dispatcher, baseUrl: new URL(url) }),
          clock: Date.now,
          logger,
          runner: { file, args: [] },
          architecture: architecture(),
        });
        await store.ensure({ repository, digest }, { signal: AbortSignal.timeout(120_000) });
      });
      await dispatcher.close();
      return taken;
    },
  };
}

function architecture(): "amd64" | "arm64" {
  return process.arch === "arm64" ? "arm64" : "amd64";
}

/** The agent is given digests by the controller; finding the tag is not part of its work. */
async function digestOf(url: string, repository: string): Promise<Digest> {
  const path = `/v2/${repository}/manifests/latest`;
  const { headers, body } = await request(new URL(path, url), {
    method: "HEAD",
    headers: { accept: mediaTypes.manifest },
  });
  await body.dump();
  return parseDigest(String(headers["docker-content-digest"]));
}
