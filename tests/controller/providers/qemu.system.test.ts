/** The provider qemu on real QEMU. The contract runs on machines with nothing to boot, which start at once; one test
 * boots Debian's kernel and userland, with the first boot by cloud-init and LXC inside. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setImmediate as nextTurn } from "node:timers/promises";

import { ProviderError } from "@strata/controller/providers/errors";
import { parseVmId, type Provider, type VmRequest } from "@strata/controller/providers/provider";
import { createQemuProvider } from "@strata/controller/providers/qemu";
import { QemuSettings } from "@strata/controller/providers/qemu-settings";

import { providerContract, type ProviderFixture } from "../../contract/provider.ts";
import { assert, rejectsWithCode, suite } from "../../support/suite.ts";
import { aTemporaryDirectory, type TemporaryDirectory } from "../../support/temporary.ts";
import { requireDebianImage } from "./debian-image.ts";
import { aVmRequest } from "./vm-request.ts";

const never = new AbortController().signal;
const MiB = 1024 ** 2;

/** A provider whose one image is an empty disk: its VMs find nothing to boot and stay on. */
function anEmptyDisk(folder: string, changes: Record<string, unknown> = {}): QemuSettings {
  const disk = join(folder, "empty.raw");
  writeFileSync(disk, "");
  truncateSync(disk, MiB);
  const images = { empty: { disk, format: "raw" } };
  // They do not listen to the power button, so waiting for them is of no use.
  return QemuSettings.parse({ kind: "qemu", images, stopGrace: "100ms", ...changes });
}

function aRequest(changes: Partial<VmRequest> = {}): VmRequest {
  const { flavor } = aVmRequest();
  return aVmRequest({ image: "empty", flavor: { ...flavor, memoryBytes: 64 * MiB }, ...changes });
}

const pidOf = (folder: string, id: string): number =>
  Number(readFileSync(join(folder, "vms", id, "pid"), "utf8"));

async function anEmptyCloud(): Promise<ProviderFixture> {
  const temporary = aTemporaryDirectory();
  const settings = anEmptyDisk(temporary.path);
  const folder = join(temporary.path, "vms");
  const connect = (controllerId: string) => createQemuProvider({ controllerId, settings, folder });
  return {
    connect,
    request: aRequest,
    killFromOutside: async (id) => {
      const pid = pidOf(temporary.path, id);
      process.kill(pid, "SIGKILL");
      // Ending takes a moment; the suite's limit ends the wait.
      while (usesFolder(String(pid), folder)) await nextTurn();
    },
    leftovers: async () => leftoversOf(folder),
    [Symbol.asyncDispose]: async () => {
      await deleteAll(connect("controller-a"));
      await temporary[Symbol.asyncDispose]();
    },
  };
}

function leftoversOf(folder: string): readonly string[] {
  const processes = readdirSync("/proc").filter(
    (pid) => /^\d+$/.test(pid) && usesFolder(pid, folder),
  );
  const folders =
    statSync(folder, { throwIfNoEntry: false }) === undefined ? [] : readdirSync(folder);
  return [...processes, ...folders];
}

function usesFolder(pid: string, folder: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(folder);
  } catch {
    return false;
  }
}

async function deleteAll(provider: Provider): Promise<void> {
  for (const vm of await provider.list(never)) await provider.delete(vm.id, never);
}

providerContract("qemu", anEmptyCloud, { timeoutMs: 60_000 });

suite("the qemu provider", (test) => {
  test("says that a paused machine is not running", async () => {
    await using temporary = aTemporaryDirectory();
    const provider = aProvider(temporary, {});
    const { id } = await provider.create(aRequest(), never);
    assert.equal(stateOf(await provider.describe(id, never)), ["running", "running"]);
    tellMachine(temporary.path, id, "stop");
    assert.equal(stateOf(await provider.describe(id, never)), ["stopped", "paused"]);
    await provider.delete(id, never);
  });

  test("keeps the join token out of every file that others can read, and out of the command line", async () => {
    await using temporary = aTemporaryDirectory();
    const provider = aProvider(temporary, {});
    const files = [{ path: "/run/token", mode: "0600", content: "s3cret" }];
    const { id } = await provider.create(aRequest({ firstBoot: { files, script: "true" } }), never);
    const folder = join(temporary.path, "vms", id);
    assert.is(statSync(folder).mode & 0o777, 0o700);
    assert.not.ok(readdirSync(folder).includes("user-data"));
    const pid = pidOf(temporary.path, id);
    assert.not.match(readFileSync(`/proc/${pid}/cmdline`, "utf8"), /s3cret/);
    assert.not.match(readFileSync(`/proc/${pid}/environ`, "utf8"), /s3cret/);
    await provider.delete(id, never);
  });

  test("puts a machine on a bridge, and nothing stays on it afterwards", async () => {
    await using temporary = aTemporaryDirectory();
    const bridge = `stq${process.pid % 100_000}`;
    execFileSync("ip", ["link", "add", bridge, "type", "bridge"]);
    try {
      const provider = aProvider(temporary, { bridge });
      const { id } = await provider.create(aRequest(), never);
      assert.is(portsOf(bridge).length, 1);
      await provider.delete(id, never);
      assert.equal(portsOf(bridge), []);
    } finally {
      execFileSync("ip", ["link", "delete", bridge]);
    }
  });

  test("refuses what it cannot make, and says why", async () => {
    await using temporary = aTemporaryDirectory();
    const provider = aProvider(temporary, {});
    const unknown = await rejectsWithCode(
      provider.create(aRequest({ image: "windows" }), never),
      "PROVIDER_INVALID",
    );
    assert.ok(unknown instanceof ProviderError);
    assert.is(unknown.hint, "name one of the provider's images: empty");
    const flavor = { ...aRequest().flavor, diskBytes: 4096 };
    await rejectsWithCode(provider.create(aRequest({ flavor }), never), "PROVIDER_INVALID");
    await rejectsWithCode(provider.describe(parseVmId("a/../../etc"), never), "PROVIDER_INVALID");
    const huge = { ...aRequest().flavor, memoryBytes: 2 ** 52 };
    await rejectsWithCode(provider.create(aRequest({ flavor: huge }), never), "PROVIDER_CAPACITY");
    await deleteAll(provider);
    assert.equal(leftoversOf(join(temporary.path, "vms")), []);
  });

  test("finishes a creation whose controller died before QEMU was started", async () => {
    await using temporary = aTemporaryDirectory();
    const provider = aProvider(temporary, {});
    const wanted = aRequest({ flavor: { ...aRequest().flavor, diskBytes: 4096 } });
    await rejectsWithCode(provider.create(wanted, never), "PROVIDER_INVALID");
    assert.equal(
      (await provider.list(never)).map((vm) => vm.state),
      ["creating"],
    );
    const vm = await provider.create({ ...wanted, flavor: aRequest().flavor }, never);
    assert.is(vm.state, "running");
    await provider.delete(vm.id, never);
  });

  test(
    "boots Debian, runs its first boot by cloud-init, runs LXC inside, and shuts down by itself",
    async () => {
      await using temporary = aTemporaryDirectory();
      await using listener = await aListener();
      const { diskFile: disk, kernelFile: kernel, initrdFile: initrd } = requireDebianImage();
      const images = { debian: { disk, format: "raw", kernel, initrd } };
      const provider = aProvider(temporary, { images, stopGrace: "3m", timeout: "5m" });
      const probe = readFileSync(join(import.meta.dirname, "nested-lxc.sh"), "utf8");
      const vm = await provider.create(
        aVmRequest({
          image: "debian",
          flavor: { ...aVmRequest().flavor, memoryBytes: 512 * MiB },
          firstBoot: {
            files: [
              { path: "/run/token", mode: "0600", content: "secret\n" },
              { path: "/root/probe.sh", mode: "0700", content: `set -- idmapped\n${probe}` },
            ],
            script: firstBootScript(listener.url),
          },
        }),
        never,
      );
      const said = await listener.next("/booted");
      assert.match(said, new RegExp(`^host ${vm.clientToken}$`, "m"));
      assert.match(said, /^token 600 secret$/m);
      assert.match(said, /^cgroup2fs$/m);
      assert.match(said, /idmap: ok/);
      assert.match(said, /^probe 0$/m);
      assert.is((await provider.describe(vm.id, never))?.state, "running");
      const [, parting] = await Promise.all([
        provider.delete(vm.id, never),
        listener.next("/parting"),
      ]);
      assert.is(parting, "shut down in order");
      assert.equal(leftoversOf(join(temporary.path, "vms")), []);
    },
    { timeoutMs: 900_000 },
  );
});

/** Says what it found, and leaves a unit behind that says good-bye when the machine shuts down in order. */
function firstBootScript(url: string): string {
  return `
systemd-run --quiet --unit=parting --remain-after-exit -p After=network.target -p Conflicts=shutdown.target \\
  -p "ExecStop=curl -sS --data-binary 'shut down in order' ${url}/parting" true
{ echo "host $(hostname)"; echo "token $(stat -c %a /run/token) $(cat /run/token)"; stat -fc %T /sys/fs/cgroup
  sh /root/probe.sh; echo "probe $?"; } >/root/report 2>&1
curl -sS --retry 5 --retry-connrefused --data-binary @/root/report ${url}/booted
`;
}

type Listener = AsyncDisposable & {
  /** As a VM with user-mode networking reaches this machine. */
  readonly url: string;
  /** The body of the first request at this path. */
  readonly next: (path: string) => Promise<string>;
};

async function aListener(): Promise<Listener> {
  const bodies = new Map<string, PromiseWithResolvers<string>>();
  const bodyAt = (path: string): PromiseWithResolvers<string> => {
    const known = bodies.get(path) ?? Promise.withResolvers<string>();
    bodies.set(path, known);
    return known;
  };
  const take = async (request: IncomingMessage): Promise<void> =>
    bodyAt(request.url ?? "").resolve(await text(request));
  const server = createServer((request, response) => {
    void take(request).then(() => response.end());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  return {
    url: `http://10.0.2.2:${port}`,
    next: (path) => bodyAt(path).promise,
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

function aProvider(temporary: TemporaryDirectory, changes: Record<string, unknown>): Provider {
  const settings = anEmptyDisk(temporary.path, changes);
  return createQemuProvider({
    controllerId: "controller-a",
    settings,
    folder: join(temporary.path, "vms"),
  });
}

function stateOf(vm: { readonly state: string; readonly message?: string } | undefined) {
  return [vm?.state, vm?.message];
}

/** By another client of the machine protocol than the one under test. */
function tellMachine(folder: string, id: string, command: string): void {
  const script = `use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die; <$s>;
    for my $c ("qmp_capabilities", $ARGV[1]) { print $s "{\\"execute\\": \\"$c\\"}\\n"; $s->flush;
    while (<$s>) { last if /"return"/ } }`;
  execFileSync("perl", ["-e", script, join(folder, "vms", id, "qmp"), command]);
}

function portsOf(bridge: string): readonly string[] {
  return readdirSync(`/sys/class/net/${bridge}/brif`);
}
