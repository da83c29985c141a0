/** The provider qemu on real QEMU, with machines that have nothing to boot and so start at once. One that boots is in
 * qemu-join.system.test.ts. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";

import { ProviderError } from "@strata/controller/providers/errors";
import { parseVmId, type Provider, type VmRequest } from "@strata/controller/providers/provider";
import { createQemuProvider } from "@strata/controller/providers/qemu";
import { QemuSettings } from "@strata/controller/providers/qemu-settings";

import { providerContract, type ProviderFixture } from "../../contract/provider.ts";
import { aVmRequest } from "../../support/machines/vm-request.ts";
import { assert, rejectsWithCode, suite, type Test } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

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
  Number(readFileSync(join(folder, id, "pid"), "utf8"));

type Cloud = ProviderFixture & {
  readonly provider: Provider;
  /** Where the VMs are. */
  readonly folder: string;
};

/** Whatever runs in it when the test ends is killed: QEMU outlives its starter on purpose. */
async function aCloud(changes: Record<string, unknown> = {}): Promise<Cloud> {
  const temporary = aTemporaryDirectory();
  const settings = anEmptyDisk(temporary.path, changes);
  const folder = join(temporary.path, "vms");
  const connect = (controllerId: string) => createQemuProvider({ controllerId, settings, folder });
  return {
    connect,
    provider: connect("controller-a"),
    folder,
    request: aRequest,
    killFromOutside: (id) => killMachine(pidOf(folder, id)),
    leftovers: async () => [...machinesOf(folder).map(String), ...foldersIn(folder)],
    [Symbol.asyncDispose]: async () => {
      for (const pid of machinesOf(folder)) await killMachine(pid);
      await temporary[Symbol.asyncDispose]();
    },
  };
}

function foldersIn(folder: string): readonly string[] {
  return statSync(folder, { throwIfNoEntry: false }) === undefined ? [] : readdirSync(folder);
}

/** The QEMUs with files in this folder. */
function machinesOf(folder: string): readonly number[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => commandLineOf(pid).includes(folder));
}

async function killMachine(pid: number): Promise<void> {
  process.kill(pid, "SIGKILL");
  // Ending takes a moment; the test's limit ends the wait.
  while (commandLineOf(pid) !== "") await nextTurn();
}

function commandLineOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}

providerContract("qemu", aCloud, { timeoutMs: 60_000 });
suite("the qemu provider", defineTests);

function defineTests(test: Test): void {
  test("says that a paused machine is not running", async () => {
    await using cloud = await aCloud();
    const { provider } = cloud;
    const { id } = await provider.create(aRequest(), never);
    assert.equal(stateOf(await provider.describe(id, never)), ["running", "running"]);
    tellMachine(cloud.folder, id, "stop");
    assert.equal(stateOf(await provider.describe(id, never)), ["stopped", "paused"]);
    await provider.delete(id, never);
  });

  test("keeps the join token out of every file that others can read, and out of the command line", async () => {
    await using cloud = await aCloud();
    const { provider } = cloud;
    const files = [{ path: "/run/token", mode: "0600", content: "s3cret" }];
    const { id } = await provider.create(aRequest({ firstBoot: { files, script: "true" } }), never);
    const folder = join(cloud.folder, id);
    assert.is(statSync(folder).mode & 0o777, 0o700);
    assert.not.ok(readdirSync(folder).includes("user-data"));
    const pid = pidOf(cloud.folder, id);
    assert.not.match(readFileSync(`/proc/${pid}/cmdline`, "utf8"), /s3cret/);
    assert.not.match(readFileSync(`/proc/${pid}/environ`, "utf8"), /s3cret/);
    await provider.delete(id, never);
  });

  test("puts a machine on a bridge, and nothing stays on it afterwards", async () => {
    const bridge = `stq${process.pid % 100_000}`;
    execFileSync("ip", ["link", "add", bridge, "type", "bridge"]);
    try {
      await using cloud = await aCloud({ bridge });
      const { provider } = cloud;
      const { id } = await provider.create(aRequest(), never);
      assert.is(portsOf(bridge).length, 1);
      await provider.delete(id, never);
      assert.equal(portsOf(bridge), []);
    } finally {
      execFileSync("ip", ["link", "delete", bridge]);
    }
  });

  test("refuses what it cannot make, and says why", async () => {
    await using cloud = await aCloud();
    const { provider } = cloud;
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
    for (const vm of await provider.list(never)) await provider.delete(vm.id, never);
    assert.equal(await cloud.leftovers(), []);
  });

  test("finishes a creation whose controller died before QEMU was started", async () => {
    await using cloud = await aCloud();
    const { provider } = cloud;
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
}

function stateOf(vm: { readonly state: string; readonly message?: string } | undefined) {
  return [vm?.state, vm?.message];
}

/** By another client of the machine protocol than the one under test. */
function tellMachine(folder: string, id: string, command: string): void {
  const script = `use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die; <$s>;
    for my $c ("qmp_capabilities", $ARGV[1]) { print $s "{\\"execute\\": \\"$c\\"}\\n"; $s->flush;
    while (<$s>) { last if /"return"/ } }`;
  execFileSync("perl", ["-e", script, join(folder, id, "qmp"), command]);
}

function portsOf(bridge: string): readonly string[] {
  return readdirSync(`/sys/class/net/${bridge}/brif`);
}
