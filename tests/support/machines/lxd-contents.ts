/** What the lxd of a test has in it: a pool, a bridge and an image; made and taken away over its API. */
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { request } from "node:http";

import type { IncusClient } from "@strata/controller/providers/incus-client";

const never = new AbortController().signal;

export async function addPool(client: IncusClient, folder: string): Promise<void> {
  const body = { name: "default", driver: "dir", config: { source: folder } };
  await client.change({ method: "POST", path: "/storage-pools", body }, never);
}

/** Gives out addresses, and nothing else: no rules in the host's firewall, no names. */
export async function addBridge(client: IncusClient, name: string, address: string): Promise<void> {
  const config = {
    "ipv4.address": `${address}/24`,
    "ipv4.nat": "false",
    "ipv4.firewall": "false",
    "ipv6.address": "none",
    "dns.mode": "none",
  };
  const body = { name, type: "bridge", config };
  await client.change({ method: "POST", path: "/networks", body }, never);
}

/** Streams the image: it is too large for one body in memory. */
export async function importImage(
  client: IncusClient,
  socketPath: string,
  { file, alias }: { readonly file: string; readonly alias: string },
): Promise<void> {
  const headers = { "content-type": "application/octet-stream" };
  const outgoing = request({ socketPath, method: "POST", path: "/1.0/images", headers });
  const answered = once(outgoing, "response");
  createReadStream(file).pipe(outgoing);
  const [response] = await answered;
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  const { operation } = JSON.parse(Buffer.concat(chunks).toString());
  const done = await client.get(`${String(operation).replace("/1.0", "")}/wait`, never);
  const target = fingerprintOf(done);
  await client.change(
    { method: "POST", path: "/images/aliases", body: { name: alias, target } },
    never,
  );
}

function fingerprintOf(operation: unknown): string {
  const text = /"fingerprint":"([0-9a-f]+)"/.exec(JSON.stringify(operation))?.[1];
  if (text === undefined)
    throw new Error(`the image was not imported: ${JSON.stringify(operation)}`);
  return text;
}

/** Everything there is, so that the daemon can end and leave nothing. */
export async function removeAll(client: IncusClient, network: string): Promise<void> {
  const remove = (path: string) => client.change({ method: "DELETE", path }, never);
  for (const name of await instanceNames(client)) {
    const body = { action: "stop", force: true };
    await client
      .change({ method: "PUT", path: `/instances/${name}/state`, body }, never)
      .catch(() => undefined);
    await remove(`/instances/${name}`);
  }
  for (const image of await namesOf(client, "/images")) await remove(`/images/${image}`);
  // The list has the host's other interfaces too.
  if (await client.get(`/networks/${network}`, never)) await remove(`/networks/${network}`);
  await remove("/storage-pools/default");
}

export function instanceNames(client: IncusClient): Promise<readonly string[]> {
  return namesOf(client, "/instances");
}

async function namesOf(client: IncusClient, path: string): Promise<readonly string[]> {
  const urls = await client.get(path, never);
  if (!Array.isArray(urls)) return [];
  return urls.map((url) => String(url).split("/").at(-1) ?? "");
}
