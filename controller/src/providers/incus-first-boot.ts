import { z } from "zod";

import { ProviderError } from "./errors.ts";
import { renderShellScript } from "./first-boot.ts";
import type { IncusClient } from "./incus-client.ts";
import { instancePath } from "./incus-instance.ts";
import type { VmRequest } from "./provider.ts";

const FIRST_BOOT_FILE = "/root/.strata-first-boot";

/** Begins the script when the system in there is up, and leaves it running: it may take minutes. One that was cut off
 * by a restart of the instance begins again, since /dev is new each time. Its output stays in the instance, its text
 * (with the join token in it) does not. */
const launchFirstBoot = `file=${FIRST_BOOT_FILE}
if [ -e $file.done ]; then rm -f $file; exit 0; fi
mkdir /dev/.strata-first-boot 2>/dev/null || exit 0
setsid sh -c '
  case $(readlink -f /sbin/init) in *systemd)
    for try in $(seq 120); do
      case $(systemctl is-system-running 2>&1) in running | degraded) break ;; esac
      sleep 0.5
    done
  esac
  sh "$1" && : >"$1.done"
  rm -f "$1"
' sh $file </dev/null >/var/log/strata-first-boot.log 2>&1 &`;

/** Runs the first boot in a started container whose image has no cloud-init. Safe to repeat: it runs once.
 * @throws ProviderError */
export async function runFirstBoot(
  client: IncusClient,
  request: VmRequest,
  signal: AbortSignal,
): Promise<void> {
  const path = instancePath(request.clientToken);
  await client.change(
    {
      method: "POST",
      path: `${path}/files?path=${FIRST_BOOT_FILE}`,
      headers: fileHeaders({ mode: "0600" }),
      body: renderShellScript(request.firstBoot),
    },
    signal,
  );
  const command = ["/bin/sh", "-c", launchFirstBoot];
  const environment = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" };
  const ended = await client.change(
    { method: "POST", path: `${path}/exec`, body: { command, environment, interactive: false } },
    signal,
  );
  const { return: exitCode } = ExecEnd.parse(ended);
  if (exitCode !== 0) {
    throw new ProviderError(
      "PROVIDER_FAILED",
      `the first boot could not be begun: sh ended with ${exitCode}`,
    );
  }
}

const ExecEnd = z.object({ return: z.int() });

/** LXD and Incus each read their own spelling. */
function fileHeaders({ mode }: { readonly mode: string }): Readonly<Record<string, string>> {
  const fields = { type: "file", write: "overwrite", uid: "0", gid: "0", mode };
  return Object.fromEntries(
    Object.entries(fields).flatMap(([key, value]) => [
      [`X-LXD-${key}`, value],
      [`X-Incus-${key}`, value],
    ]),
  );
}
