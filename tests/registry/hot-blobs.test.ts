/** Blobs that are asked for again and again: found sound once, kept open, and sent by the kernel. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createSecureServer } from "node:https";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";

import { getRequestListener } from "@hono/node-server";
import { parseDigest } from "@strata/protocol/oci/digest";
import { createFsBlobStore } from "@strata/registry/drivers/fs-blob-store";
import { createKernelCopy } from "@strata/registry/http/kernel-copy";
import { createSoundBlobs } from "@strata/registry/sound-blobs";
import { Agent, request } from "undici";

import { createClient, digestOf, randomBlob } from "../support/registry-client.ts";
import { aRegistryServer, type RegistryServer } from "../support/registry-server.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

/** Longer than what a socket takes at once, so that a download has to wait in its middle. */
const bytes = randomBlob(12_000_000);
const digest = digestOf(bytes);
const path = `/v2/a/blobs/${digest}`;
/** No file counts as changed just now. */
const later = { clock: (): number => Date.now() + 60_000 };

/** A registry that has hashed the blob once. */
async function aWarmServer(folder: string): Promise<RegistryServer> {
  const server = await aRegistryServer({ folder, ...later });
  const client = createClient(server.url);
  await client.pushBlob("a", bytes);
  assert.ok((await client.send("GET", path)).body.equals(bytes));
  return server;
}

function fileOf(folder: string): string {
  const hex = digest.slice("sha256:".length);
  return join(folder, "blobs", "sha256", hex.slice(0, 2), hex);
}

async function open(server: RegistryServer): Promise<Socket> {
  const socket = connect(Number(server.host.split(":")[1]), "127.0.0.1");
  await once(socket, "connect");
  return socket;
}

suite("a blob found sound", (test) => {
  test("is the same to all that ask at once, whole and in parts", async () => {
    await using folder = aTemporaryDirectory();
    await using server = await aWarmServer(folder.path);
    const client = createClient(server.url);
    const range = async (from: number, to: number): Promise<void> => {
      const part = await client.send("GET", path, { headers: { range: `bytes=${from}-${to}` } });
      assert.is(part.status, 206);
      assert.ok(part.body.equals(bytes.subarray(from, to + 1)));
    };
    const whole = async (): Promise<void> => {
      assert.ok((await client.send("GET", path)).body.equals(bytes));
    };
    const starts = Array.from({ length: 12 }, (_, turn) => turn * 977_001);
    await Promise.all([
      ...starts.map((start) => range(start, start + 65_535)),
      ...starts.map((start) => range(start, bytes.length - 1)),
      ...Array.from({ length: 4 }, whole),
    ]);
    const parts = await client.send("GET", path, { headers: { range: "bytes=0-99999,-5" } });
    assert.ok(parts.body.includes(bytes.subarray(0, 100_000)));
    assert.ok(parts.body.includes(bytes.subarray(-5)));
    assert.equal(server.faults, []);
  });

  test("comes in order on one connection, to requests that were sent together", async () => {
    await using folder = aTemporaryDirectory();
    await using server = await aWarmServer(folder.path);
    const socket = await open(server);
    const get = (more: string): string => `GET ${path} HTTP/1.1\r\nHost: x\r\n${more}\r\n`;
    socket.write(`${get("")}${get("Range: bytes=7-9\r\n")}${get("Connection: close\r\n")}`);
    const received = await buffer(socket);
    const first = received.indexOf(bytes.subarray(0, 100));
    const second = received.indexOf("HTTP/1.1 206", first);
    const third = received.indexOf("HTTP/1.1 200", second);
    assert.ok(received.subarray(first, second).equals(bytes));
    assert.ok(received.subarray(second, third).subarray(-3).equals(bytes.subarray(7, 10)));
    assert.ok(received.subarray(-bytes.length).equals(bytes));
  });

  test("is not sent past the encryption of a TLS connection", async () => {
    await using folder = aTemporaryDirectory();
    await using server = await aWarmServer(folder.path);
    const [key, cert] = ["key.pem", "cert.pem"].map((name) => join(folder.path, name));
    const subject = [
      "-x509",
      "-subj",
      "/CN=localhost",
      "-keyout",
      String(key),
      "-out",
      String(cert),
    ];
    const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    execFileSync("openssl", ["req", ...kind, ...subject], { stdio: "ignore" });
    const listener = getRequestListener(server.registry.app.fetch);
    const secure = createSecureServer(
      { key: readFileSync(String(key)), cert: readFileSync(String(cert)) },
      (incoming, outgoing) => void listener(incoming, outgoing),
    );
    secure.listen(0, "127.0.0.1");
    await once(secure, "listening");
    const dispatcher = new Agent({ connect: { rejectUnauthorized: false } });
    try {
      const url = new URL(path, `https://127.0.0.1:${parseAddress(secure.address()).port}`);
      const { body } = await request(url, { dispatcher });
      assert.ok(Buffer.from(await body.arrayBuffer()).equals(bytes));
    } finally {
      await dispatcher.close();
      secure.closeAllConnections();
      secure.close();
    }
  });

  test("is hashed again once its file was touched, and then cut off before its end", async () => {
    await using folder = aTemporaryDirectory();
    await using server = await aWarmServer(folder.path);
    const client = createClient(server.url);
    const content = Buffer.from(bytes);
    content[content.length - 10] = (content.at(-10) ?? 0) ^ 1;
    writeFileSync(fileOf(folder.path), content);
    const whole = await client.send("GET", path).then(
      () => true,
      () => false,
    );
    assert.is(whole, false, "the client must see that the answer is not whole");
    assert.is((await client.send("GET", path)).status, 404);
  });

  test("is unknown when its file is gone, though it was open a moment ago", async () => {
    await using folder = aTemporaryDirectory();
    await using server = await aWarmServer(folder.path);
    const client = createClient(server.url);
    rmSync(fileOf(folder.path));
    assert.is((await client.send("GET", path)).status, 404);
    await client.pushBlob("a", bytes);
    assert.ok((await client.send("GET", path)).body.equals(bytes));
  });
});

suite("a client that hangs up in the middle of a download", (test) => {
  test("does not make the blob suspect", async () => {
    await using folder = aTemporaryDirectory();
    const blobs = await createFsBlobStore(folder.path);
    let opened = 0;
    const counting: typeof blobs = {
      ...blobs,
      open: (name) => {
        opened += 1;
        return blobs.open(name);
      },
    };
    const { promise: cutOff, resolve: onWarning } = Promise.withResolvers<string>();
    await using server = await aRegistryServer({ blobs: counting, onWarning });
    await createClient(server.url).pushBlob("a", bytes);
    const socket = await open(server);
    socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await once(socket, "data");
    socket.destroy();
    assert.is(await cutOff, "answer cut off");
    // To look at it again it would have to be opened again, and read to its end.
    assert.is(opened, 1);
  });
});

suite("sound blobs", (test) => {
  const name = parseDigest(digest);
  const file = (version: string, changedAt: number) => ({ descriptor: 1, version, changedAt });

  test("are known by the state of their file, for ten minutes of either direction", () => {
    let now = 1_000_000;
    const sound = createSoundBlobs(() => now);
    sound.add(name, file("one", 0), now);
    assert.ok(sound.has(name, file("one", 0)));
    assert.not(sound.has(name, file("two", 0)));
    assert.not(sound.has(name, undefined));
    now += 599_000;
    assert.ok(sound.has(name, file("one", 0)));
    for (now of [1_600_000, 400_000]) assert.not(sound.has(name, file("one", 0)));
  });

  test("are not those whose file changed a moment ago, or that are in no file", () => {
    const sound = createSoundBlobs(() => 1_000);
    sound.add(name, file("one", 950), 1_000);
    sound.add(name, undefined, 1_000);
    assert.not(sound.has(name, file("one", 950)));
  });
});

suite("the kernel's copy", (test) => {
  test("takes what the socket takes, and nothing when the socket is closed", async () => {
    await using folder = aTemporaryDirectory();
    const source = join(folder.path, "source");
    writeFileSync(source, bytes);
    const descriptor = openSync(source, "r");
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const client = connect(parseAddress(server.address()).port, "127.0.0.1");
    const [socket] = parseSockets(await once(server, "connection"));
    const copy = createKernelCopy() ?? ((): number => 0);
    const taken = copy(socket, { descriptor, position: 5, lengthBytes: 1000 });
    assert.is(taken, process.platform === "linux" ? 1000 : 0);
    socket.end();
    assert.ok((await buffer(client)).equals(bytes.subarray(5, 5 + taken)));
    socket.destroy();
    assert.is(copy(socket, { descriptor, position: 0, lengthBytes: 1000 }), 0);
    server.close();
    closeSync(descriptor);
  });
});

function parseAddress(address: unknown): AddressInfo {
  // A server that listens on TCP has one.
  return address as AddressInfo;
}

function parseSockets(values: readonly unknown[]): readonly [Socket] {
  // What a net.Server's `connection` carries.
  return values as unknown as readonly [Socket];
}
