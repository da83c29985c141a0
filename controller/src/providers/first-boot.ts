/** What a new machine does once, at its first boot, before anybody has logged in. Pure.
 *
 * It is said once, as files and a shell script, and rendered as the machine needs it: a cloud-init document
 * (`cloud-init.ts`) where the image has cloud-init, a plain shell script where a provider can run one in the machine by itself. */
import { CONTROLLER_SERVER_NAME } from "@strata/protocol/agent/join-token";

export type FirstBoot = {
  /** Written first. */
  readonly files: readonly FirstBootFile[];
  /** Then run as root by /bin/sh. */
  readonly script: string;
};

export type FirstBootFile = {
  readonly path: string;
  /** Four octal digits. */
  readonly mode: string;
  readonly content: string;
};

export type JoinOptions = {
  /** `https://host:port`, as the new machine reaches it. */
  readonly controllerUrl: string;
  /** The controller's CA certificate: nothing else is trusted, from the first byte on. */
  readonly caPem: string;
  /** The whole token, `strata.…`. It reaches a file of mode 0600 alone, never an argument or the environment. */
  readonly joinToken: string;
};

/** On a temporary file system on every distribution, so that a reboot takes the token away. */
const FOLDER = "/run/strata-join";

/** Makes a machine join as a node: fetches the controller's install script and runs it with the token's file. */
export function planJoin(options: JoinOptions): FirstBoot {
  return {
    files: [
      { path: `${FOLDER}/ca.pem`, mode: "0644", content: withNewline(options.caPem) },
      { path: `${FOLDER}/token`, mode: "0600", content: withNewline(options.joinToken) },
    ],
    script: joinScript(new URL(options.controllerUrl)),
  };
}

/** First boot as one script, for a machine without cloud-init. Safe to run again. */
export function renderShellScript(firstBoot: FirstBoot): string {
  const files = firstBoot.files.map(writeFileLines).join("");
  return `#!/bin/sh\nset -eu\numask 077\n${files}${withNewline(firstBoot.script)}`;
}

function writeFileLines(file: FirstBootFile): string {
  const path = quote(file.path);
  // Base64 has no character that means anything to a shell, whatever the content holds.
  const content = Buffer.from(file.content).toString("base64");
  return (
    `mkdir -p "$(dirname ${path})"\n` +
    `printf %s ${content} | base64 -d > ${path}\n` +
    `chmod ${quote(file.mode)} ${path}\n`
  );
}

function joinScript(controller: URL): string {
  const port = controller.port === "" ? "443" : controller.port;
  const url = `https://${CONTROLLER_SERVER_NAME}:${port}/install.sh`;
  // The certificate is checked for the name that every controller has, whatever the address is that is dialled.
  const route = `${CONTROLLER_SERVER_NAME}:${port}:${controller.hostname}:${port}`;
  return `set -eu
if ! command -v curl >/dev/null; then
  apt-get update -q && apt-get install -qy --no-install-recommends curl
fi
curl -fsS --retry 30 --retry-delay 2 --retry-all-errors --connect-timeout 5 \\
  --cacert ${FOLDER}/ca.pem --connect-to ${quote(route)} \\
  -o ${FOLDER}/install.sh ${quote(url)}
sh ${FOLDER}/install.sh --token-file ${FOLDER}/token --controller ${quote(controller.origin)}
rm -f ${FOLDER}/token
`;
}

/** One word of a POSIX shell, whatever is in it. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function withNewline(text: string): string {
  return text.endsWith("\n") ? text : `${text}\n`;
}
