/** Files of a machine that a test has made, read from outside: of its control groups above all, which the API shows no more of
 * than what the agent makes of them. */
import type { FirstBoot } from "@strata/controller/providers/first-boot";

const PORT = 8099;
const FOLDER = "/srv/machine-files";

/** Has the machine answer what is in any of its files. */
export function servingFiles({ files, script }: FirstBoot): FirstBoot {
  const reader = {
    path: `${FOLDER}/cgi-bin/read`,
    mode: "0755",
    content: `#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\ncat "$QUERY_STRING"\n`,
  };
  const serve = `systemd-run --quiet --unit=machine-files busybox httpd -f -p ${PORT} -h ${FOLDER}\n`;
  return { files: [...files, reader], script: `${serve}${script}` };
}

/** Without the last line break; empty when there is no such file. */
export async function readMachineFile(address: string, path: string): Promise<string> {
  const url = `http://${address}:${PORT}/cgi-bin/read?${path}`;
  const answer = await fetch(url, { signal: AbortSignal.timeout(60_000) });
  return (await answer.text()).trim();
}
