/** Level 2 with a real controller and a real program as its provider: only the machines are played. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { aControllerProcess, type ControllerProcess } from "../../support/controller-process.ts";
import { aFakeAgent, type FakeAgent, GIB } from "../../support/fake-agent.ts";
import { pushImage } from "../../support/push-image.ts";
import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

/** A cloud that is a folder: one file for each VM, with what was asked for. */
const program = `
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
const folder = process.argv[2];
const { action, controllerId, request, id } = JSON.parse(readFileSync(0, "utf8"));
const read = (name) => JSON.parse(readFileSync(folder + "/" + name, "utf8")).vm;
const has = (name) => readdirSync(folder).includes(name);
const answer = () => {
  if (action === "list") return { vms: readdirSync(folder).map(read) };
  if (action === "describe") return { vm: has(id) ? read(id) : null };
  if (action === "delete") { rmSync(folder + "/" + id, { force: true }); return {}; }
  const { clientToken, partition, labels, userData } = request;
  if (!has(clientToken)) {
    const vm = { id: clientToken, controllerId, clientToken, partition, labels, state: "running" };
    writeFileSync(folder + "/" + clientToken, JSON.stringify({ vm, userData }));
  }
  return { vm: read(clientToken) };
};
console.log(JSON.stringify(answer()));
`;

const WAIT_MS = 100_000;

async function waitUntil(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const signal = AbortSignal.timeout(WAIT_MS);
  while (!(await condition())) {
    if (signal.aborted) throw new Error(`never came true: ${what}`);
    await sleep(50);
  }
}

async function setUp(controller: ControllerProcess, folder: string): Promise<void> {
  const put = async (path: string, body: object): Promise<void> => {
    const answer = await controller.call("PUT", path, { body });
    assert.ok(answer.status < 300, `${path}: ${JSON.stringify(answer.body)}`);
  };
  writeFileSync(join(folder, "cloud.mjs"), program);
  for (const name of ["dead", "alive"]) {
    await mkdir(join(folder, name));
    const command = [process.execPath, join(folder, "cloud.mjs"), join(folder, name)];
    await put(`/v1/providers/${name}`, {
      settings: { kind: "exec", command },
      flavors: { small: { cpu: 4, memory: "4Gi", image: "debian" } },
    });
  }
  await put("/v1/partition-policies/elastic", {
    providers: ["dead", "alive"].map((provider) => ({ provider, flavor: "small" })),
    joinTimeout: "15s",
    backOff: { first: "1h", max: "1h" },
    remove: { emptyAfter: "1s", afterAdd: "0s" },
  });
  await put("/v1/partitions/web", { policy: "elastic" });
  const token = controller.adminToken();
  await pushImage({ url: controller.url, token }, { repository: "hello", tag: "1" });
  await put("/v1/cartridges/hello", { image: "hello:1", partition: "web" });
  const resources = { memory: "1Gi", cpu: 1, pids: 100 };
  await put("/v1/subscriptions/hi", { cartridge: "hello", processes: 4, resources });
}

/** Does what a machine does whose first boot joins it. */
async function boot(controller: ControllerProcess, file: string, name: string): Promise<FakeAgent> {
  const { userData } = JSON.parse(readFileSync(file, "utf8"));
  const [joinToken] = /strata\.[a-z0-9-]+\.[A-Za-z0-9_-]+\.[0-9a-f]{64}/.exec(userData) ?? [];
  if (joinToken === undefined) throw new Error("the user data holds no token");
  return aFakeAgent(controller, {
    name,
    joinToken,
    capacity: { cpuMillis: 4000, memoryBytes: 4 * GIB, pids: 100_000 },
  });
}

suite("a provider that is a program", (test) => {
  test(
    "is left for the next when its VM never joins, whatever crashes meanwhile",
    async () => {
      await using folder = aTemporaryDirectory();
      await using controller = await aControllerProcess();
      const vmsOf = (name: string): readonly string[] => readdirSync(join(folder.path, name));
      await setUp(controller, folder.path);
      await waitUntil("a VM is made", () => vmsOf("dead").length === 1);
      await controller.kill("SIGKILL");
      await controller.start();
      await waitUntil("the other is asked", () => vmsOf("alive").length === 1);
      await waitUntil("the dead VM is deleted", () => vmsOf("dead").length === 0);

      const [vm = ""] = vmsOf("alive");
      const agent = await boot(controller, join(folder.path, "alive", vm), vm);
      await waitUntil("all run", async () => {
        await agent.work();
        const { body } = await controller.call("GET", "/v1/subscriptions/hi");
        return body.status.ready === 4;
      });
      const { body } = await controller.call("GET", "/v1/vms");
      assert.equal(
        body.items.map(({ id, state, node }: Record<string, string>) => [id, state, node]),
        [[vm, "joined", vm]],
      );

      await controller.call("POST", "/v1/subscriptions/hi/scale", { body: { processes: 0 } });
      await waitUntil("the VM is deleted", async () => {
        if (vmsOf("alive").length > 0) await agent.work().catch(() => undefined);
        return vmsOf("alive").length === 0;
      });
      await waitUntil("nothing is remembered", async () => {
        const vms = await controller.call("GET", "/v1/vms");
        const nodes = await controller.call("GET", "/v1/nodes");
        return vms.body.items.length + nodes.body.items.length === 0;
      });
    },
    { timeoutMs: 170_000 },
  );
});
