/** The provider incus against Debian's real lxd, which the file starts and its last test ends. The instances are
 * containers: there is no vhost_vsock in the kernels that these tests run on, so no VMs. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { createIncusProvider } from "@strata/controller/providers/incus";
import { IncusSettings } from "@strata/controller/providers/incus-settings";
import type { Provider, VmRequest } from "@strata/controller/providers/provider";

import { providerContract } from "../../contract/provider.ts";
import { anLxd, IMAGE_ALIAS } from "../../support/machines/lxd.ts";
import { aVmRequest } from "../../support/machines/vm-request.ts";
import { assert, rejectsWithCode, suite } from "../../support/suite.ts";

const server = await anLxd();
const never = new AbortController().signal;

function aProvider(controllerId: string, changes: Record<string, unknown> = {}): Provider {
  const settings = IncusSettings.parse({
    ...server.settings,
    privileged: false,
    ...changes,
  });
  return createIncusProvider({ controllerId, settings });
}

function aRequest(changes: Partial<VmRequest> = {}): VmRequest {
  return aVmRequest({ image: IMAGE_ALIAS, ...changes });
}

/** Asks again until the script in the instance succeeds. */
async function eventually(instance: string, script: string): Promise<string> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await server.run(instance, script);
    } catch (error) {
      if (attempt === 200) throw error;
      await sleep(200);
    }
  }
}

providerContract(
  "incus",
  async () => ({
    connect: (controllerId) => aProvider(controllerId),
    request: aRequest,
    killFromOutside: server.kill,
    leftovers: server.instances,
    [Symbol.asyncDispose]: async () => undefined,
  }),
  { timeoutMs: 120_000 },
);

suite("the incus provider", (test) => {
  const slow = { timeoutMs: 180_000 };

  test(
    "runs the first boot once in an image without cloud-init, as root, and removes its text",
    async () => {
      const provider = aProvider("controller-a");
      const request = aRequest({
        firstBoot: {
          files: [{ path: "/run/strata-join/token", mode: "0600", content: "secret\n" }],
          script:
            "echo begun >> /root/begun; cp /run/strata-join/token /root/seen; touch /root/joined\n",
        },
      });
      const { id, state } = await provider.create(request, never);
      assert.is(state, "running");
      await provider.create(request, never);
      await eventually(id, "test -e /root/joined && test ! -e /root/.strata-first-boot");
      assert.is(await server.run(id, "cat /root/begun /root/seen"), "begun\nsecret\n");
      assert.is(await server.run(id, "stat -c %a /run/strata-join/token"), "600\n");
      await provider.delete(id, never);
    },
    slow,
  );

  test(
    "gives an image with cloud-init its document",
    async () => {
      const provider = aProvider("controller-a", { firstBoot: "cloud-init" });
      const firstBoot = {
        files: [{ path: "/etc/from-seed", mode: "0600", content: "hi" }],
        script: "touch /root/ran",
      };
      const { id } = await provider.create(aRequest({ firstBoot }), never);
      await eventually(id, "test -e /root/ran");
      assert.is(
        await server.run(id, "cat /etc/from-seed; stat -c %a /etc/from-seed; hostname"),
        `hi600\n${id}\n`,
      );
      await provider.delete(id, never);
    },
    slow,
  );

  test(
    "gives an instance the size of its flavor, an address, and the host within reach",
    async () => {
      const provider = aProvider("controller-a");
      const { id } = await provider.create(aRequest(), never);
      const limit =
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max";
      assert.is(await eventually(id, limit), `${512 * 1024 ** 2}\n`);
      await eventually(
        id,
        `ip -4 -o addr show dev eth0 | grep -q "inet ${server.bridgeAddress.replace(/1$/, "")}"`,
      );
      const listener = createServer((socket) => socket.end()).listen(0, server.bridgeAddress);
      await once(listener, "listening");
      const address = listener.address();
      const port = typeof address === "object" ? address?.port : undefined;
      await eventually(
        id,
        `exec perl -MIO::Socket::INET -e 'exit !IO::Socket::INET->new("${server.bridgeAddress}:${port}")'`,
      );
      listener.close();
      await provider.delete(id, never);
    },
    slow,
  );

  for (const privileged of [false, true]) {
    const what = privileged
      ? "with id-mapped layers in a privileged instance"
      : "in an unprivileged instance";
    test(
      `runs an unprivileged LXC container on an overlay ${what}`,
      async () => {
        const provider = aProvider("controller-a", { privileged });
        const { id } = await provider.create(aRequest(), never);
        await eventually(id, "systemctl is-system-running | grep -Eq 'running|degraded'");
        const probe = readFileSync(join(import.meta.dirname, "nested-lxc.sh"), "utf8");
        const said = await server.run(id, `set -- ${privileged ? "idmapped" : "plain"}\n${probe}`);
        assert.match(said, /uid=0/);
        assert.match(said, /^\s*0\s+1000000\s+65536$/m);
        assert.match(said, privileged ? /idmap: ok/ : /idmap: Operation not permitted/);
        await provider.delete(id, never);
      },
      slow,
    );
  }

  test(
    "finishes a creation whose controller died after the instance was made",
    async () => {
      const provider = aProvider("controller-a");
      const request = aRequest({ firstBoot: { files: [], script: "touch /root/joined\n" } });
      const { id } = await provider.create(request, never);
      // As it is when nothing was done after the POST.
      await server.kill(id);
      const config = { "user.strata.phase": "begun" };
      const path = `/instances/${id}`;
      await server.client.change({ method: "PATCH", path, body: { config } }, never);
      assert.is((await provider.describe(id, never))?.state, "creating");
      assert.is((await provider.create(request, never)).state, "running");
      await eventually(id, "test -e /root/joined");
      await provider.delete(id, never);
    },
    slow,
  );

  test("refuses with the right code what the server refuses, and leaves nothing", async () => {
    const cases: readonly (readonly [string, Partial<VmRequest>, Record<string, unknown>])[] = [
      ["PROVIDER_INVALID", { image: "no-such-image" }, {}],
      ["PROVIDER_INVALID", {}, { pool: "no-such-pool" }],
      ["PROVIDER_INVALID", {}, { network: "no-such-network" }],
      ["PROVIDER_INVALID", { flavor: { ...aRequest().flavor, options: { "no.such": "key" } } }, {}],
      ["PROVIDER_UNREACHABLE", {}, { endpoint: "unix:/no/such/socket" }],
      ["PROVIDER_UNREACHABLE", {}, { endpoint: "https://127.0.0.1:1" }],
      [
        "PROVIDER_INVALID",
        {},
        { endpoint: "https://127.0.0.1:1", certificateFile: "/no/such/file" },
      ],
    ];
    for (const [code, request, settings] of cases) {
      const creation = (async () =>
        aProvider("controller-a", settings).create(aRequest(request), never))();
      await rejectsWithCode(creation, code);
    }
    assert.equal(await server.instances(), []);
  });

  test("says that a project's limit is a quota", async () => {
    const config = {
      "features.images": "false",
      "features.profiles": "false",
      "limits.instances": "0",
    };
    await server.client.change(
      { method: "POST", path: "/projects", body: { name: "full", config } },
      never,
    );
    const provider = aProvider("controller-a", { project: "full" });
    await rejectsWithCode(provider.create(aRequest(), never), "PROVIDER_QUOTA");
    await server.client.change({ method: "DELETE", path: "/projects/full" }, never);
  });

  test("stops waiting when its time is over", async () => {
    const provider = aProvider("controller-a", { timeout: 1, endpoint: await aSilentServer() });
    await rejectsWithCode(provider.list(never), "PROVIDER_TIMEOUT");
  });

  test("works over https with a client certificate, trusting the server's pinned one alone", async () => {
    const endpoint = await listenOnHttps();
    const [known, unknown] = [aCertificate("known"), aCertificate("unknown")];
    const serverCertificateFile = join(server.folder, "server.crt");
    await server.client.change(
      {
        method: "POST",
        path: "/certificates",
        body: { type: "client", certificate: derOf(known.certificateFile) },
      },
      never,
    );
    const trusted = aProvider("controller-a", { endpoint, serverCertificateFile, ...known });
    assert.equal(await trusted.list(never), []);
    const stranger = aProvider("controller-a", { endpoint, serverCertificateFile, ...unknown });
    await rejectsWithCode(stranger.list(never), "PROVIDER_AUTH");
    const misled = aProvider("controller-a", {
      endpoint,
      ...known,
      serverCertificateFile: known.certificateFile,
    });
    await rejectsWithCode(misled.list(never), "PROVIDER_AUTH");
    const careless = aProvider("controller-a", { endpoint, ...known });
    await rejectsWithCode(careless.list(never), "PROVIDER_AUTH");
  });
});

// Last, since the server is shared by the whole file: what it leaves on this machine is a result too.
suite("the test's lxd", (test) => {
  test("leaves no instance, mount, bridge or table behind", async () => {
    const instances = await server.instances();
    await server[Symbol.asyncDispose]();
    assert.equal(instances, []);
    assert.equal(mountsBelow(server.folder), []);
    assert.not.ok(existsSync(`/sys/class/net/${server.network}`));
  });
});

async function aSilentServer(): Promise<string> {
  const path = join(server.folder, "silent.socket");
  const silent = createServer().listen(path);
  await once(silent, "listening");
  silent.unref();
  return `unix:${path}`;
}

async function listenOnHttps(): Promise<string> {
  const free = createServer().listen(0, "127.0.0.1");
  await once(free, "listening");
  const address = free.address();
  const port = typeof address === "object" ? address?.port : undefined;
  free.close();
  const config = { "core.https_address": `127.0.0.1:${port}` };
  await server.client.change({ method: "PATCH", path: "", body: { config } }, never);
  return `https://127.0.0.1:${port}`;
}

type Certificate = { readonly certificateFile: string; readonly keyFile: string };

function aCertificate(name: string): Certificate {
  const [keyFile, certificateFile] = [
    `${server.folder}/${name}.key`,
    `${server.folder}/${name}.crt`,
  ];
  const key = [
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-keyout",
    keyFile,
  ];
  const subject = ["-subj", `/CN=${name}`, "-days", "2", "-out", certificateFile];
  execFileSync("openssl", ["req", "-x509", ...key, ...subject], { stdio: "ignore" });
  return { certificateFile, keyFile };
}

function derOf(certificateFile: string): string {
  return readFileSync(certificateFile, "utf8").replaceAll(/-----.*-----|\n/g, "");
}

/** Mounts below a folder, as this machine has them now. */
function mountsBelow(folder: string): readonly string[] {
  const lines = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  return lines.filter((line) => line.includes(` ${folder}/`));
}
