import { existsSync } from "node:fs";
import { join } from "node:path";

import { anImage } from "../support/images.ts";
import { aLoopbackServer, type LoopbackServer } from "../support/loopback-server.ts";
import { randomBlob } from "../support/registry-client.ts";
import { aRegistryServer } from "../support/registry-server.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";
import { aCuttingProxy } from "./support/cutting-proxy.ts";
import { digestIn, putImage, runAt } from "./support/store-images.ts";

const MIB = 1024 * 1024;

/** Passes requests on, and breaks the first `cuts` answers with more than `afterBytes` off there. */
async function aCuttingServer(
  url: string,
  { cuts, afterBytes }: { readonly cuts: number; readonly afterBytes: number },
): Promise<LoopbackServer> {
  let left = cuts;
  return aLoopbackServer((incoming, outgoing) => {
    const { range } = incoming.headers;
    const headers = range === undefined ? {} : { range };
    void fetch(new URL(incoming.url ?? "/", url), { headers }).then(async (answer) => {
      const body = Buffer.from(await answer.arrayBuffer());
      outgoing.writeHead(answer.status, Object.fromEntries(answer.headers));
      if (left > 0 && body.length > afterBytes) {
        left -= 1;
        outgoing.write(body.subarray(0, afterBytes), () => outgoing.destroy());
      } else {
        outgoing.end(body);
      }
    });
  });
}

suite("bundles over connections that break", (test) => {
  test(
    "are created all the same: a blob goes on where it broke off",
    async () => {
      await using folder = aTemporaryDirectory();
      await using here = await aRegistryServer();
      await using there = await aRegistryServer();
      const app = anImage({ layers: [randomBlob(4 * MIB)] });
      await putImage(here.url, app, { repository: "app", reference: "1" });
      await using cutter = await aCuttingServer(here.url, { cuts: 3, afterBytes: MIB });
      const file = join(folder.path, "b.tar");
      const made = await runAt(cutter.url, "bundle", "create", "app:1", "-o", file);
      assert.is(made.status, 0, made.stderr);
      assert.is((await runAt(there.url, "bundle", "load", file)).status, 0);
      assert.is(await digestIn(there.url, "app", "1"), app.manifest.digest);
    },
    { timeoutMs: 120_000 },
  );

  test(
    "are not created when nothing comes any more, and leave no file",
    async () => {
      await using folder = aTemporaryDirectory();
      await using here = await aRegistryServer();
      const app = anImage({ layers: [randomBlob(4 * MIB)] });
      await putImage(here.url, app, { repository: "app", reference: "1" });
      await using cutter = await aCuttingServer(here.url, { cuts: 1000, afterBytes: 1 });
      const file = join(folder.path, "b.tar");
      const made = await runAt(cutter.url, "bundle", "create", "app:1", "-o", file);
      assert.is(made.status, 3, made.stderr);
      assert.not(existsSync(file));
      assert.not(existsSync(`${file}.partial`));
    },
    { timeoutMs: 120_000 },
  );

  test(
    "show no image before it is whole, and send nothing twice when loaded again",
    async () => {
      await using folder = aTemporaryDirectory();
      await using here = await aRegistryServer();
      await using there = await aRegistryServer({ folder: join(folder.path, "store") });
      const layers = [randomBlob(MIB), randomBlob(MIB), randomBlob(24 * MIB)];
      const app = anImage({ layers });
      await putImage(here.url, app, { repository: "app", reference: "1" });
      const file = join(folder.path, "b.tar");
      await runAt(here.url, "bundle", "create", "app:1", "-o", file);
      const port = Number(new URL(there.url).port);
      // Five attempts of two mebibytes are not enough for the large layer.
      await using proxy = await aCuttingProxy(port, { cuts: 1000, afterBytes: 2 * MIB });
      const broken = await runAt(proxy.url, "bundle", "load", file);
      assert.is(broken.status, 3, broken.stderr);
      assert.is(await digestIn(there.url, "app", "1"), undefined);
      assert.is(await digestIn(there.url, "app", app.manifest.digest), undefined);
      const again = await runAt(there.url, "bundle", "load", file);
      assert.is(again.status, 0, again.stderr);
      assert.is(again.stderr.match(/is there already/g)?.length, 3);
      assert.is(await digestIn(there.url, "app", "1"), app.manifest.digest);
      const third = await runAt(there.url, "bundle", "load", file);
      assert.is(third.stderr.match(/is there already/g)?.length, 4);
    },
    { timeoutMs: 120_000 },
  );
});
