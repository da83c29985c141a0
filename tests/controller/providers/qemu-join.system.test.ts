/** An emulated machine becomes a node by itself: controller and agent as they ship, the agent on cgroup v2. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

import type { Provider, VmId } from "@strata/controller/providers/provider";
import { createQemuProvider } from "@strata/controller/providers/qemu";
import { QemuSettings } from "@strata/controller/providers/qemu-settings";

import { aBridge } from "../../support/machines/bridge.ts";
import { requireDebianImage } from "../../support/machines/debian-image.ts";
import { aRunningInstance } from "../../support/running-instance.ts";
import { suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { aJoiningRequest, servesOn } from "./joining.ts";

const never = new AbortController().signal;

suite("a virtual machine of QEMU", (test) => {
  test(
    "joins by its first boot, on cgroup v2, and serves cartridges",
    async () => {
      await using bridge = aBridge();
      await using strata = await aRunningInstance();
      await using folder = aTemporaryDirectory();
      const provider = aQemuProvider(join(folder.path, "vms"), bridge.name);
      const request = await aJoiningRequest(strata, bridge.address, 2000);
      const { id } = await provider.create(request, never);
      await using _ = { [Symbol.asyncDispose]: () => provider.delete(id, never) };
      await servesOn(request, strata, () => consoleOf(folder.path, id));
    },
    { timeoutMs: 580_000 },
  );
});

function aQemuProvider(folder: string, bridge: string): Provider {
  const { diskFile: disk, kernelFile: kernel, initrdFile: initrd } = requireDebianImage();
  const images = { "debian-12": { disk, format: "raw", kernel, initrd } };
  const settings = QemuSettings.parse({ kind: "qemu", images, bridge, stopGrace: "1s" });
  return createQemuProvider({ controllerId: "controller-a", settings, folder });
}

/** The end of the VM's console, from QEMU's memory. */
async function consoleOf(folder: string, id: VmId): Promise<string> {
  const script = `use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die; <$s>;
    for my $c ('"qmp_capabilities"', '"ringbuf-read", "arguments": {"device": "console", "size": 65536}') {
    print $s "{\\"execute\\": $c}\\n"; $s->flush; while (<$s>) { print; last if /"return"/ } }`;
  const qmp = join(folder, "vms", id, "qmp");
  return (await promisify(execFile)("perl", ["-e", script, qmp])).stdout.replaceAll("\\r\\n", "\n");
}
