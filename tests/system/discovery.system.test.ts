/** Names, virtual addresses and the walls between tenants as they are: a controller and two real nodes in networks of their
 * own, with processes of two tenants on each. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { gatewayAddress, parseSubnet } from "@strata/agent/network/subnet";
import { listOf, Process, Subscription } from "@strata/protocol/api/resources";
import { mediaTypes } from "@strata/protocol/oci/media-type";

import { aTar } from "../agent/layer/tar-builder.ts";
import { askInside, resolveInside, type Target } from "../agent/support/ask-inside.ts";
import { inOwnNetwork } from "../agent/support/own-network.ts";
import { aControllerProcess, type ControllerProcess } from "../support/controller-process.ts";
import { anImage } from "../support/images.ts";
import { createClient, digestOf } from "../support/registry-client.ts";
import { aShapedNetwork, type ShapedMachine } from "../support/shaped-network.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const agentMain = fileURLToPath(new URL("../../agent/src/main.ts", import.meta.url));
const LOOK_MS = 200;

inOwnNetwork(import.meta.url, () =>
  suite("subscriptions on two nodes", (test) => {
    test(
      "find each other by name, and are out of other tenants' reach",
      async () => {
        await using scene = await aScene();
        const { controller, nodes } = scene;
        await subscribe(scene, { tenant: "blue", alias: "web-a", partition: "a" });
        await subscribe(scene, { tenant: "red", alias: "spy-a", partition: "a" });
        await subscribe(scene, { tenant: "red", alias: "spy-b", partition: "b" });
        await subscribe(scene, { tenant: "blue", alias: "db", partition: "b" });
        const db = await oneProcess(controller, "blue", "db");
        const pids = {
          web: (await oneProcess(controller, "blue", "web-a")).pid ?? 0,
          far: (await oneProcess(controller, "red", "spy-a")).pid ?? 0,
          near: (await oneProcess(controller, "red", "spy-b")).pid ?? 0,
        };
        const virtual = (await subscriptionOf(controller, "blue", "db")).status.address ?? "";
        const hostPort = Number(new URL(db.endpoints[0]?.url ?? "").port);
        const ways: readonly Target[] = [
          [virtual, 8080],
          [nodes.b.address, hostPort],
        ];
        const direct: readonly Target[] = [...ways, [db.address ?? "", 8080]];
        const name = "db.blue.strata.internal";
        const gateway = gatewayAddress(parseSubnet(nodes.a.subnet));

        await untilEqual(
          () =>
            resolveInside(pids.web, gateway, [
              ["A", name],
              ["SRV", `_http._tcp.${name}`],
            ]),
          [virtual, `${db.id}.${name}:${hostPort}`],
        );
        await untilEqual(() => askInside(pids.web, ways), [db.id, db.id]);
        assert.equal(await askInside(pids.far, ways), ["refused", "refused"]);
        assert.equal(await askInside(pids.near, direct), ["refused", "refused", "refused"]);

        await subscribe(scene, {
          tenant: "blue",
          alias: "db",
          partition: "b",
          network: { access: "everyone" },
        });
        const all = [db.id, db.id, db.id];
        await untilEqual(() => askInside(pids.far, ways), [db.id, db.id]);
        await untilEqual(() => askInside(pids.near, direct), all);

        await controller.kill("SIGKILL");
        await nodes.a.kill();
        await nodes.a.start();
        await untilEqual(() => resolveInside(pids.web, gateway, [["A", name]]), [virtual]);
        assert.equal(await askInside(pids.web, ways), [db.id, db.id]);
        assert.equal(await askInside(pids.near, direct), all);
        await controller.start();
      },
      { timeoutMs: 400_000 },
    );
  }),
);

type TestNode = {
  readonly address: string;
  readonly subnet: string;
  readonly data: string;
  readonly start: () => Promise<void>;
  readonly kill: () => Promise<void>;
};

type Scene = AsyncDisposable & {
  readonly controller: ControllerProcess;
  readonly nodes: Readonly<Record<"a" | "b", TestNode>>;
};

async function aScene(): Promise<Scene> {
  await using undo = new AsyncDisposableStack();
  const network = undo.use(await aShapedNetwork({ machines: 2, rate: "10gbit" }));
  const environment = { STRATA_PORT: "7070", STRATA_ADVERTISE: network.address };
  const controller = undo.use(await aControllerProcess({ environment }));
  const folder = undo.use(aTemporaryDirectory());
  await pushBusybox(controller);
  for (const tenant of ["blue", "red"]) await mustCall(controller, `PUT /v1/tenants/${tenant}`, {});
  const [first, second] = network.machines;
  if (first === undefined || second === undefined) throw new Error("two machines are wanted");
  const node = async (name: "a" | "b", machine: ShapedMachine): Promise<TestNode> => {
    await mustCall(controller, `PUT /v1/partitions/${name}`, {});
    const body = { partition: name, uses: 1 };
    const { token } = await mustCall(controller, "POST /v1/join-tokens", body);
    const made = aNodeOn(machine, {
      data: join(folder.path, name),
      subnet: name === "a" ? "10.78.0.0/24" : "10.79.0.0/24",
      token: String(token),
      url: `https://${network.address}:7070`,
    });
    undo.defer(made.purge);
    await made.start();
    return made;
  };
  const nodes = { a: await node("a", first), b: await node("b", second) };
  await mustCall(controller, "PUT /v1/cartridges/page", {
    image: "page:1",
    ports: [{ name: "http", containerPort: 8080 }],
    health: { kind: "tcp", port: 8080 },
  });
  const whole = undo.move();
  return { controller, nodes, [Symbol.asyncDispose]: () => whole.disposeAsync() };
}

function aNodeOn(
  machine: ShapedMachine,
  options: { data: string; subnet: string; token: string; url: string },
): TestNode & { readonly purge: () => Promise<void> } {
  const { data, subnet, token, url } = options;
  const tokenFile = `${data}.token`;
  writeFileSync(tokenFile, token, { mode: 0o600 });
  const env = {
    PATH: process.env["PATH"],
    STRATA_DATA: data,
    STRATA_BRIDGE: "strata0",
    STRATA_SUBNET: subnet,
    STRATA_LOG_LEVEL: "warn",
    STRATA_PEER_PORT: "0",
    STRATA_CONTROLLER: url,
    STRATA_JOIN_TOKEN_FILE: tokenFile,
    STRATA_NODE_ADDRESS: machine.address,
  };
  const [program, ...enter] = machine.enter;
  const launch = (command: string): ChildProcess =>
    spawn(program, [...enter, process.execPath, agentMain, command], {
      env,
      stdio: ["ignore", "ignore", "inherit"],
    });
  let child: ChildProcess | undefined;
  const kill = async (): Promise<void> => {
    const ending = child;
    child = undefined;
    if (ending === undefined || ending.exitCode !== null || ending.signalCode !== null) return;
    ending.kill("SIGKILL");
    await once(ending, "exit");
  };
  return {
    address: machine.address,
    subnet,
    data,
    start: async () => {
      child = launch("run");
      while (!existsSync(join(data, "agent", "identity.json"))) await delay(LOOK_MS);
    },
    kill,
    purge: async () => {
      await kill();
      const [code] = await once(launch("purge"), "exit");
      if (code !== 0) throw new Error(`purge ended with ${String(code)}`);
    },
  };
}

/** Serves its own name on port 8080. */
async function pushBusybox(controller: ControllerProcess): Promise<void> {
  const folders = ["bin", "tmp"].map((name) => ({ name, type: "5", mode: 0o777 }));
  const program = { name: "bin/busybox", body: readFileSync("/bin/busybox"), mode: 0o755 };
  const layer = aTar([...folders, program]);
  const serve = "echo $HOSTNAME > /tmp/index.html; exec busybox httpd -f -p 8080 -h /tmp";
  const config = {
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    os: "linux",
    config: { Cmd: ["/bin/busybox", "sh", "-c", serve], Env: ["PATH=/bin"] },
    rootfs: { type: "layers", diff_ids: [digestOf(layer)] },
  };
  const image = anImage({
    config: Buffer.from(JSON.stringify(config)),
    layers: [layer],
    layerType: mediaTypes.layer,
  });
  const basic = Buffer.from(`x:${controller.adminToken()}`).toString("base64");
  const client = createClient(controller.url, `Basic ${basic}`);
  for (const blob of image.blobs) await client.pushBlob("page", blob);
  const { status } = await client.putManifest("/v2/page/manifests/1", image.manifest);
  assert.is(status, 201);
}

type Wish = {
  readonly tenant: string;
  readonly alias: string;
  readonly partition: string;
  readonly network?: object;
};

async function subscribe({ controller }: Scene, wish: Wish): Promise<void> {
  const { tenant, alias, partition, network } = wish;
  const body = { cartridge: "page", partition, processes: 1, ...(network && { network }) };
  await mustCall(controller, `PUT /v1/subscriptions/${alias}?tenant=${tenant}`, body);
}

async function subscriptionOf(
  controller: ControllerProcess,
  tenant: string,
  alias: string,
): Promise<Subscription> {
  return Subscription.parse(
    await mustCall(controller, `GET /v1/subscriptions/${alias}?tenant=${tenant}`),
  );
}

/** Once it is ready. */
async function oneProcess(
  controller: ControllerProcess,
  tenant: string,
  alias: string,
): Promise<Process> {
  for (;;) {
    const path = `GET /v1/subscriptions/${alias}/processes?tenant=${tenant}`;
    const { items } = listOf(Process).parse(await mustCall(controller, path));
    const ready = items.find((process) => process.ready);
    if (ready !== undefined) return ready;
    await delay(LOOK_MS);
  }
}

async function untilEqual(
  look: () => Promise<readonly string[]>,
  wanted: readonly string[],
): Promise<void> {
  while ((await look()).join() !== wanted.join()) await delay(LOOK_MS);
}

async function mustCall(
  controller: ControllerProcess,
  methodAndPath: string,
  body?: object,
): Promise<Readonly<Record<string, unknown>>> {
  const headers = { "content-type": "application/json" };
  const [method = "", path = ""] = methodAndPath.split(" ");
  const answer = await controller.call(method, path, { body, headers });
  if (answer.status >= 300) throw new Error(`${path}: ${JSON.stringify(answer.body)}`);
  return answer.body;
}
