import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

import type { BlobStore } from "@strata/registry/blob-store";
import { createS3BlobStore } from "@strata/registry/drivers/s3-blob-store";
import {
  type Bucket,
  createBucket,
  defaultS3Limits,
  type S3Limits,
} from "@strata/registry/drivers/s3/bucket";
import { parseS3Location } from "@strata/registry/drivers/s3/location";

import { theS3Server } from "../../support/s3-server.ts";

const PART_BYTES = 100_000;
/** The server takes tens of milliseconds for each request, and much more on a busy machine. */
export const slow = { timeoutMs: 120_000 };

/** A part of the bucket, with ways into it. */
export type Place = {
  readonly address: string;
  readonly open: (limits?: Partial<S3Limits>, storeId?: string) => Promise<BlobStore>;
  /** The bucket itself, past the driver. */
  readonly bucket: Bucket;
  readonly keys: (start: string) => Promise<readonly string[]>;
};

export async function aPlace(): Promise<Place> {
  const { newAddress, credentials } = await theS3Server();
  return placeAt(newAddress(), credentials);
}

export function placeAt(
  address: string,
  credentials: { readonly accessKeyId: string; readonly secretAccessKey: string },
): Place {
  const location = parseS3Location(address);
  const bucket = createBucket({ location, credentials, limits: defaultS3Limits });
  const logger = { warn: () => undefined };
  return {
    address,
    bucket,
    keys: (start) => Array.fromAsync(bucket.list(start)),
    open: (limits, storeId = "tester") =>
      createS3BlobStore({
        location,
        credentials,
        logger,
        storeId,
        newId: randomUUID,
        limits: { partBytes: PART_BYTES, ...limits },
      }),
  };
}

export type Gate = AsyncDisposable & { readonly address: string };

/** Stands before a server; `treat` is given each connection of a client, and one to the server. */
export async function aGate(
  { address }: Place,
  treat: (client: Socket, server: Socket) => void,
): Promise<Gate> {
  const endpoint = new URL(parseS3Location(address).endpoint ?? "");
  const sockets = new Set<Socket>();
  const gate: Server = createServer((client) => {
    const server = connect(Number(endpoint.port), endpoint.hostname);
    for (const socket of [client, server]) {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        client.destroy();
        server.destroy();
      });
    }
    treat(client, server);
  });
  gate.listen(0, "127.0.0.1");
  await once(gate, "listening");
  const { port } = gate.address() as AddressInfo;
  const url = new URL(address);
  url.searchParams.set("endpoint", `http://127.0.0.1:${port}`);
  return {
    address: url.href,
    [Symbol.asyncDispose]: async () => {
      gate.close();
      for (const socket of sockets) socket.destroy();
      await once(gate, "close");
    },
  };
}

export const credentials = { accessKeyId: "test:tester", secretAccessKey: "testing" };

/** Whose data a record names. */
export function ownerIn(record: Uint8Array | undefined): string {
  const line =
    Buffer.from(record ?? [])
      .toString()
      .split("\n", 1)[0] ?? "";
  return (JSON.parse(line) as { readonly owner: string }).owner;
}
