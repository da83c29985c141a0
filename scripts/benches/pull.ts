import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { createImageStore } from "@strata/agent/image/image-store";
import { createRegistryClient } from "@strata/agent/image/registry-client";
import { parseDigest } from "@strata/protocol/oci/digest";
import { Agent, request } from "undici";

import { root } from "../root.ts";
import type { Bench, Contestant } from "./bench.ts";
import { goalAtMost, interleave, summarize, timeMs } from "./measure.ts";
import { runPeer } from "./run-peer.ts";
import { settled } from "./settled.ts";

const REPOSITORY = "bench/php";

/** All three pull the same image from the same registry over plain HTTP, into a new folder each time, to files that a
 * container could run on. Ours syncs the disk and checks every digest; the time counts all of it. Nothing is deleted
 * between the rounds: an ext4 without a journal looks for long for an inode that was not deleted lately. */
export const bench: Bench = {
  name: "pull",
  summary: "From nothing to a root file system: the php image out of our registry on this machine",
  rounds: 5,
  run: async ({ rounds, say, folder }) => {
    say("building the agent and the php image");
    await runPeer(process.execPath, join(root, "scripts/build.ts"));
    const layout = join(folder, "php");
    const php = join(root, "examples/php");
    await runPeer(
      process.execPath,
      join(root, "cli/src/main.ts"),
      "cartridge",
      "build",
      php,
      "--output",
      layout,
    );
    await using registry = await aRegistry(join(folder, "registry"));
    const image = `${new URL(registry.url).host}/${REPOSITORY}:latest`;
    await runPeer(
      "skopeo",
      "copy",
      "--dest-tls-verify=false",
      `oci:${layout}`,
      `docker://${image}`,
    );
    const contestants = [
      aStore({ url: registry.url, folder: join(folder, "ours") }),
      podman(image, join(folder, "podman")),
      skopeoAndUmoci(image, join(folder, "umoci")),
    ];
    const samples = await interleave(contestants.map(settled), { rounds, say });
    const result = summarize("pull", "ms", samples);
    return {
      results: [result],
      goals: [goalAtMost(result, "podman", 1), goalAtMost(result, "skopeo+umoci", 1)],
    };
  },
};

/** The image store of the agent, with the shipped binary to unpack. */
function aStore({ url, folder }: { readonly url: string; readonly folder: string }): Contestant {
  const file = join(root, `dist/strata-agent-linux-${architecture()}`);
  return {
    name: "strata",
    measure: async (round) => {
      const digest = await digestOf(url);
      const dispatcher = new Agent();
      const taken = await timeMs(async () => {
        const store = createImageStore({
          directory: join(folder, String(round)),
          client: createRegistryClient({ dispatcher, baseUrl: new URL(url) }),
          clock: Date.now,
          logger: { info: () => undefined, warn: () => undefined },
          runner: { file, args: [] },
          architecture: architecture(),
        });
        await store.ensure(
          { repository: REPOSITORY, digest },
          { signal: AbortSignal.timeout(120_000) },
        );
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
async function digestOf(url: string): Promise<ReturnType<typeof parseDigest>> {
  const accept = "application/vnd.oci.image.manifest.v1+json";
  const path = `/v2/${REPOSITORY}/manifests/latest`;
  const { headers, body } = await request(new URL(path, url), {
    method: "HEAD",
    headers: { accept },
  });
  await body.dump();
  return parseDigest(String(headers["docker-content-digest"]));
}

function podman(image: string, folder: string): Contestant {
  return {
    name: "podman",
    measure: (round) => {
      const at = (part: string): string => join(folder, String(round), part);
      // Drivers other than overlay copy; this one keeps no mount after a pull.
      const storage = ["--root", at("root"), "--runroot", at("run"), "--storage-driver", "overlay"];
      const pull = ["pull", "-q", "--tls-verify=false", image];
      return timeMs(() => runPeer("podman", ...storage, "--cgroup-manager=cgroupfs", ...pull));
    },
  };
}

function skopeoAndUmoci(image: string, folder: string): Contestant {
  return {
    name: "skopeo+umoci",
    measure: async (round) => {
      const own = join(folder, String(round));
      const layout = join(own, "layout");
      await runPeer("mkdir", "-p", own);
      return timeMs(async () => {
        const source = `docker://${image}`;
        await runPeer(
          "skopeo",
          "copy",
          "-q",
          "--src-tls-verify=false",
          source,
          `oci:${layout}:php`,
        );
        await runPeer("umoci", "unpack", "--image", `${layout}:php`, join(own, "bundle"));
      });
    },
  };
}

/** Our registry alone, in a process of its own as it is for the agent. */
async function aRegistry(data: string): Promise<AsyncDisposable & { readonly url: string }> {
  const program = join(root, "registry/src/main.ts");
  const registry = spawn(process.execPath, [program, "--data", data, "--port", "0"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(registry, "exit");
  for await (const line of createInterface(registry.stdout)) {
    const url = /^listening on (\S+)$/.exec(line)?.[1];
    if (url === undefined) continue;
    return {
      url,
      [Symbol.asyncDispose]: async () => {
        registry.kill();
        await ended;
      },
    };
  }
  throw new Error("the registry did not start");
}
