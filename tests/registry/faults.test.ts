import { once } from "node:events";
import { readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";

import { startUpload } from "../conformance/checks.ts";
import { createClient, digestOf, randomBlob } from "../support/registry-client.ts";
import { aRegistryServer, type RegistryServer } from "../support/registry-server.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const bytes = randomBlob(3_000_000);
const digest = digestOf(bytes);

function blobFile(folder: string): string {
  const hex = digest.slice("sha256:".length);
  return join(folder, "blobs", "sha256", hex.slice(0, 2), hex);
}

function flipBit(path: string, position: number): void {
  const content = readFileSync(path);
  content[position] = (content[position] ?? 0) ^ 1;
  writeFileSync(path, content);
}

suite("a damaged blob", (test) => {
  test("is never completed; then it is gone until a push brings it back to all repositories", async () => {
    for (const size of [bytes.length, 1000]) {
      await using folder = aTemporaryDirectory();
      await using server = await aRegistryServer({ folder: folder.path });
      const client = createClient(server.url);
      const content = bytes.subarray(0, size);
      const name = digestOf(content);
      for (const repository of ["a", "b"]) await client.pushBlob(repository, content);
      const hex = name.slice("sha256:".length);
      flipBit(join(folder.path, "blobs", "sha256", hex.slice(0, 2), hex), size - 10);
      await expectCutOff(server, `/v2/a/blobs/${name}`);
      for (const repository of ["a", "b"]) {
        assert.is((await client.send("HEAD", `/v2/${repository}/blobs/${name}`)).status, 404);
      }
      assert.is(readdirSync(join(folder.path, "quarantine")).length, 1);
      await client.pushBlob("b", content);
      const healed = await client.send("GET", `/v2/a/blobs/${name}`);
      assert.ok(healed.body.equals(content));
    }
  });

  test("that is lost or cut short is 404, and a push heals it", async () => {
    for (const harm of [(path: string) => truncateSync(path, 5), rmSync]) {
      await using folder = aTemporaryDirectory();
      await using server = await aRegistryServer({ folder: folder.path });
      const client = createClient(server.url);
      await client.pushBlob("a", bytes);
      harm(blobFile(folder.path));
      assert.is((await client.send("GET", `/v2/a/blobs/${digest}`)).status, 404);
      assert.is((await client.send("HEAD", `/v2/a/blobs/${digest}`)).status, 404);
      await client.pushBlob("a", bytes);
      assert.ok((await client.send("GET", `/v2/a/blobs/${digest}`)).body.equals(bytes));
    }
  });

  test("is replaced by the next push even if nobody has noticed", async () => {
    await using folder = aTemporaryDirectory();
    await using server = await aRegistryServer({ folder: folder.path });
    const client = createClient(server.url);
    await client.pushBlob("a", bytes);
    flipBit(blobFile(folder.path), 7);
    await client.pushBlob("a", bytes);
    assert.ok((await client.send("GET", `/v2/a/blobs/${digest}`)).body.equals(bytes));
  });
});

/** The answer must end before its announced length. */
async function expectCutOff(server: RegistryServer, path: string): Promise<void> {
  const whole = await createClient(server.url)
    .send("GET", path)
    .then(
      () => true,
      () => false,
    );
  assert.is(whole, false, "the client must see that the answer is not whole");
}

suite("pushes at the same time", (test) => {
  test("ten clients push one blob, by every way, and all are right", async () => {
    await using folder = aTemporaryDirectory();
    await using server = await aRegistryServer({ folder: folder.path });
    const client = createClient(server.url);
    await Promise.all(
      Array.from({ length: 10 }, (_, number) => client.pushBlob(`r${number % 3}`, bytes)),
    );
    for (const repository of ["r0", "r1", "r2"]) {
      assert.ok((await client.send("GET", `/v2/${repository}/blobs/${digest}`)).body.equals(bytes));
    }
    assert.equal(readdirSync(join(folder.path, "uploads")), []);
    assert.equal(server.faults, []);
  });

  test("push, mount, read and delete of one blob never leave a name without its bytes", async () => {
    await using folder = aTemporaryDirectory();
    await using server = await aRegistryServer({ folder: folder.path });
    const client = createClient(server.url);
    const small = randomBlob(20_000);
    const name = digestOf(small);
    const repositories = ["r0", "r1", "r2"];
    const worker = async (turn: number): Promise<void> => {
      const repository = repositories[turn % 3] ?? "r0";
      const path = `/v2/${repository}/blobs/${name}`;
      if (turn % 4 === 0) await client.send("DELETE", path);
      if (turn % 4 === 1)
        await client.send("POST", `/v2/${repository}/blobs/uploads/?mount=${name}`);
      if (turn % 4 === 2) await client.pushBlob(repository, small);
      const got = await client.send("GET", path);
      assert.ok(got.status === 404 || (got.status === 200 && got.body.equals(small)));
    };
    for (let round = 0; round < 20; round += 1) {
      await Promise.all(Array.from({ length: 12 }, (_, number) => worker(round * 5 + number)));
      for (const repository of repositories) {
        const path = `/v2/${repository}/blobs/${name}`;
        const head = await client.send("HEAD", path);
        assert.is((await client.send("GET", path)).status, head.status);
      }
    }
    assert.equal(server.faults, []);
  });
});

suite("a slow client", (test) => {
  const limits = { bodyFirstByteMsMax: 150, bodySilenceMsMax: 150 };

  test("that sends nothing is answered 408 and cut off; what it sent is kept", async () => {
    await using server = await aRegistryServer({ limits });
    const client = createClient(server.url);
    const url = await startUpload(client, "a");
    for (const sent of ["", "abc"]) {
      const answer = await sendAndWait(
        server,
        `PATCH ${url} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n${sent}`,
      );
      assert.match(answer, /^HTTP\/1.1 408 /);
      assert.match(answer, /UPLOAD_TIMEOUT/);
    }
    assert.is((await client.send("GET", url)).headers["range"], "0-2");
  });

  test("that trickles for ever is cut off too", async () => {
    await using server = await aRegistryServer({ limits: { ...limits, bodyDurationMsMax: 300 } });
    const url = await startUpload(createClient(server.url), "a");
    const socket = await open(server);
    socket.write(`PATCH ${url} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n`);
    const timer = setInterval(() => socket.write("x"), 20);
    assert.match(await text(socket), /^HTTP\/1.1 408 /);
    clearInterval(timer);
    socket.destroy();
  });

  test("that takes no byte of a download is cut off", async () => {
    const { promise: warned, resolve: onWarning } = Promise.withResolvers<string>();
    const silence = { downloadSilenceMsMax: 150 };
    await using server = await aRegistryServer({ limits: silence, onWarning });
    const client = createClient(server.url);
    const large = Buffer.alloc(32_000_000, "large");
    const name = await client.pushBlob("a", large);
    const socket = await open(server);
    socket.pause();
    socket.write(`GET /v2/a/blobs/${name} HTTP/1.1\r\nHost: x\r\n\r\n`);
    assert.is(await warned, "answer cut off");
    let taken = 0;
    socket.on("data", (chunk: Buffer) => (taken += chunk.length));
    socket.resume();
    await once(socket, "close");
    assert.ok(taken < large.length);
  });
});

async function open(server: RegistryServer): Promise<Socket> {
  const socket = connect(Number(server.host.split(":")[1]), "127.0.0.1");
  socket.on("error", () => undefined);
  await once(socket, "connect");
  return socket;
}

async function sendAndWait(server: RegistryServer, message: string): Promise<string> {
  const socket = await open(server);
  socket.write(message);
  return text(socket);
}
