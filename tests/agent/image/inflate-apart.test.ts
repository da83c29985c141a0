import { spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { canInflateApart, inflateApart } from "@strata/agent/image/inflate-apart";
import { startUnpackProcess } from "@strata/agent/image/unpack-process";
import { packEndMark } from "@strata/agent/layer/end-mark";
import { defaultLayerLimits, type LayerLimits } from "@strata/agent/layer/limits";
import type { LayerRecord } from "@strata/agent/layer/worker-protocol";
import { parseDigest } from "@strata/protocol/oci/digest";
import fc from "fast-check";

import { digestOf } from "../../support/registry-client.ts";
import { assert, rejectsWithCode, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { aTar, dir, file } from "../layer/tar-builder.ts";

const self = {
  file: process.execPath,
  args: [fileURLToPath(new URL("worker-entry.ts", import.meta.url))],
};
const archive = aTar([dir("a"), file("a/b", "some content".repeat(1000))]);
const packed = gzipSync(archive);

/** Unpacks a blob as a pull does, once its digest was checked; gives what the process says of it. */
async function unpackApart(
  blob: Buffer,
  limits: Partial<LayerLimits> = {},
): Promise<LayerRecord & { readonly files: readonly string[] }> {
  await using folder = aTemporaryDirectory();
  const directory = join(folder.path, "fs");
  mkdirSync(directory);
  const unpacking = startUnpackProcess({
    self,
    job: {
      directory,
      algorithm: "sha256",
      limits: { ...defaultLayerLimits, ...limits },
      blob: { digest: parseDigest(digestOf(blob)), size: blob.length },
    },
    apart: true,
  });
  try {
    for (let at = 0; at < blob.length; at += 50_000)
      await unpacking.write(blob.subarray(at, at + 50_000));
    unpacking.end();
    return { ...(await unpacking.layer), files: readdirSync(directory) };
  } finally {
    await unpacking.stop();
  }
}

function changed(at: number, byte: number, bytes = packed): Buffer {
  const copy = Buffer.from(bytes);
  copy[at < 0 ? copy.length + at : at] = byte;
  return copy;
}

suite("a gzip layer, inflated by igzip", (test) => {
  test("is what this machine does", () => {
    assert.ok(canInflateApart(), "install the package isal");
  });

  test("comes out whole, of one member or of several", async () => {
    const halves = [archive.subarray(0, 700), archive.subarray(700), Buffer.alloc(0)];
    const members = Buffer.concat(halves.map((half) => gzipSync(half)));
    for (const blob of [packed, members]) {
      const { diffId, archiveBytes, files } = await unpackApart(blob);
      assert.equal(diffId, digestOf(archive));
      assert.equal(archiveBytes, archive.length);
      assert.equal(files, ["a"]);
    }
  });

  const trailer = packed.subarray(-8);
  const malformed: Readonly<Record<string, Buffer>> = {
    "cut off in its data": packed.subarray(0, 60),
    "cut off in its header": packed.subarray(0, 5),
    "without its checksum": packed.subarray(0, -8),
    "without a part of its size": packed.subarray(0, -2),
    "of another checksum": changed(-8, (packed.at(-8) ?? 0) ^ 1),
    "of another size": changed(-4, (packed.at(-4) ?? 0) ^ 1),
    "of another method": changed(2, 7),
    "with text behind it": Buffer.concat([packed, Buffer.from("text")]),
    "with zeros behind it": Buffer.concat([packed, Buffer.alloc(512)]),
    "with text behind it that ends like the member": Buffer.concat([
      packed,
      Buffer.from("hidden"),
      trailer,
    ]),
    "with text between two members": Buffer.concat([packed, Buffer.from("text"), packed]),
    "with half a member behind it": Buffer.concat([packed, packed.subarray(0, 30)]),
    "with the first byte of a member behind it": Buffer.concat([packed, packed.subarray(0, 1)]),
    "with the mark of another blob behind it": Buffer.concat([
      packed,
      packEndMark(parseDigest(digestOf(packed))),
      Buffer.from("text"),
    ]),
  };
  for (const [title, blob] of Object.entries(malformed)) {
    test(`is malformed ${title}`, async () => {
      await rejectsWithCode(unpackApart(blob), "LAYER_MALFORMED");
    });
  }

  test("is a bomb as soon as it grows too much, in a ratio or in bytes", async () => {
    const bomb = gzipSync(aTar([file("zeros", "\0".repeat(32 * 1024 ** 2))]));
    const ratio = { ratioMax: 100, ratioGraceBytes: 1024 ** 2 };
    const byRatio = await rejectsWithCode(unpackApart(bomb, ratio), "LAYER_LIMIT");
    assert.match(byRatio.message, /100 times/);
    const zeros = gzipSync(Buffer.alloc(4 * 1024 ** 2));
    const bySize = await rejectsWithCode(
      unpackApart(zeros, { unpackedBytesMax: 1024 ** 2 }),
      "LAYER_LIMIT",
    );
    assert.match(bySize.message, /longer than/);
  });

  test("is refused for its entries as it is without igzip", async () => {
    await rejectsWithCode(unpackApart(gzipSync(aTar([file("../escape")]))), "LAYER_REFUSED");
  });

  test("has the same archive wherever chunks of it begin and end", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 300_000 }), async (size) => {
        const content = "0123456789abcdef".repeat(size / 16 + 1).slice(0, size);
        const blob = gzipSync(aTar([file("a", content)]));
        const { diffId } = await unpackApart(blob);
        assert.equal(diffId, digestOf(aTar([file("a", content)])));
      }),
      { numRuns: 8 },
    );
  });
});

suite("igzip", (test) => {
  test("runs as nobody, without groups, privileges or a way to gain them, and ends with its parent", async () => {
    const { file: program, args } = inflateApart({ file: "cat", args: [] });
    const worker = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
    const decompressor = await findChild(worker.pid ?? 0, "igzip");
    const status = readFileSync(`/proc/${decompressor}/status`, "utf8");
    assert.match(status, /^Uid:\t65534\t65534\t65534\t65534$/m);
    assert.match(status, /^Gid:\t65534\t65534\t65534\t65534$/m);
    assert.match(status, /^Groups:\t65534 ?$/m);
    assert.match(status, /^NoNewPrivs:\t1$/m);
    for (const set of ["Prm", "Eff", "Inh", "Amb"])
      assert.match(status, new RegExp(`^Cap${set}:\t0+$`, "m"));
    const limits = readFileSync(`/proc/${decompressor}/limits`, "utf8");
    assert.match(limits, /^Max file size +0 +0 /m);
    assert.match(limits, /^Max processes +0 +0 /m);
    worker.kill("SIGKILL");
    await waitForEnd(decompressor);
  });
});

/** Waits until a child of `parent` has become `program`; gives its id. */
async function findChild(parent: number, program: string): Promise<string> {
  for (;;) {
    const found = readProcess(`${parent}/task/${parent}/children`)
      .split(" ")
      .filter((id) => id !== "")
      .find((id) => readProcess(`${id}/comm`).trim() === program);
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Until the process is gone, or nobody has asked yet how it ended. */
async function waitForEnd(id: string): Promise<void> {
  while (!/^$|\) [ZX] /.test(readProcess(`${id}/stat`)))
    await new Promise((resolve) => setTimeout(resolve, 20));
}

/** Empty when the process is gone. */
function readProcess(path: string): string {
  try {
    return readFileSync(`/proc/${path}`, "utf8");
  } catch {
    return "";
  }
}
