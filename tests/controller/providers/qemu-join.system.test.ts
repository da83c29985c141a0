/** A machine of QEMU with Debian's own kernel and userland, emulated where there is no KVM, becomes a node by itself:
 * controller and agent as they ship, the agent on cgroup v2. It boots once for all that only a whole boot can show. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { promisify } from "node:util";

import type { Provider, VmId, VmRequest } from "@strata/controller/providers/provider";
import { createQemuProvider } from "@strata/controller/providers/qemu";
import { QemuSettings } from "@strata/controller/providers/qemu-settings";

import { aBridge } from "../../support/machines/bridge.ts";
import { requireDebianImage } from "../../support/machines/debian-image.ts";
import { aRunningInstance } from "../../support/running-instance.ts";
import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { aJoiningRequest, servesOn } from "./joining.ts";
import { holdsLimits } from "./limits-on-v2.ts";
import { servingFiles } from "./machine-files.ts";

const never = new AbortController().signal;

suite("a virtual machine of QEMU", (test) => {
  test(
    "joins by its first boot, serves cartridges, holds their limits by cgroup v2, and shuts down in order when it is deleted",
    async () => {
      await using bridge = aBridge();
      await using strata = await aRunningInstance();
      await using folder = aTemporaryDirectory();
      const provider = aQemuProvider(join(folder.path, "vms"), bridge.name);
      await using listener = await aListener(bridge.address);
      const joining = await aJoiningRequest(strata, bridge.address, 2000);
      const request = sayingGoodBye(
        { ...joining, firstBoot: servingFiles(joining.firstBoot) },
        listener.url,
      );
      const { id } = await provider.create(request, never);
      await using _ = { [Symbol.asyncDispose]: () => provider.delete(id, never) };
      await servesOn(request, strata, () => consoleOf(folder.path, id));
      await holdsLimits(strata, request.clientToken);
      const [, parting] = await Promise.all([provider.delete(id, never), listener.parting]);
      assert.is(parting, "shut down in order on cgroup2fs");
    },
    { timeoutMs: 870_000 },
  );
});

function aQemuProvider(folder: string, bridge: string): Provider {
  const { diskFile: disk, kernelFile: kernel, initrdFile: initrd } = requireDebianImage();
  const images = { "debian-12": { disk, format: "raw", kernel, initrd } };
  const settings = QemuSettings.parse({
    kind: "qemu",
    images,
    bridge,
    stopGrace: "5m",
    timeout: "10m",
  });
  return createQemuProvider({ controllerId: "controller-a", settings, folder });
}

/** Leaves a unit behind that says good-bye when the machine shuts down in order. */
function sayingGoodBye(request: VmRequest, url: string): VmRequest {
  const unit = `systemd-run --quiet --unit=parting --remain-after-exit -p After=network.target \\
  -p Conflicts=shutdown.target \\
  -p "ExecStop=curl -sS --data-binary 'shut down in order on $(stat -fc %T /sys/fs/cgroup)' ${url}" true
`;
  const { files, script } = request.firstBoot;
  return { ...request, firstBoot: { files, script: `${unit}${script}` } };
}

type Listener = AsyncDisposable & {
  readonly url: string;
  /** The body of the first request. */
  readonly parting: Promise<string>;
};

async function aListener(address: string): Promise<Listener> {
  const parting = Promise.withResolvers<string>();
  const server = createServer((request, response) => {
    text(request).then(parting.resolve, parting.reject);
    response.end();
  });
  server.listen(0, address);
  await once(server, "listening");
  const bound = server.address();
  return {
    url: `http://${address}:${typeof bound === "object" ? bound?.port : undefined}`,
    parting: parting.promise,
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** The end of the VM's console, from QEMU's memory. */
async function consoleOf(folder: string, id: VmId): Promise<string> {
  const script = `use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die; <$s>;
    for my $c ('"qmp_capabilities"', '"ringbuf-read", "arguments": {"device": "console", "size": 65536}') {
    print $s "{\\"execute\\": $c}\\n"; $s->flush; while (<$s>) { print; last if /"return"/ } }`;
  const qmp = join(folder, "vms", id, "qmp");
  return (await promisify(execFile)("perl", ["-e", script, qmp])).stdout.replaceAll("\\r\\n", "\n");
}
