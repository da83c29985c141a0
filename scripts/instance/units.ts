import type { Service } from "./keeper.ts";

/** The systemd unit of a service. Pure.
 * `KillMode=process`: the agent's containers outlive the agent, and the controller's virtual machines the controller.
 * `Delegate=yes`: so do the containers' control groups. */
export function renderUnit({ name, summary, command, environment, version }: Service): string {
  const run = environment["STRATA_RUN"];
  return [
    "[Unit]",
    `Description=${summary}`,
    "Wants=network-online.target",
    "After=network-online.target",
    "# A crash loop is slowed down by RestartSec, and never given up.",
    "StartLimitIntervalSec=0",
    `X-Strata-Version=${version}`,
    "",
    "[Service]",
    ...Object.entries(environment).map(([key, value]) => `Environment=${quote(`${key}=${value}`)}`),
    ...(run === undefined ? [] : [`ExecStartPre=/bin/mkdir -p ${quoteWord(run)}`]),
    `ExecStart=${command.map((word) => quoteWord(word)).join(" ")}`,
    "Restart=always",
    "RestartSec=1",
    // Of an agent whose node was deleted: it has nothing to do any more.
    ...(name === "agent" ? ["RestartPreventExitStatus=78"] : []),
    "LimitNOFILE=1048576",
    "KillMode=process",
    "TasksMax=infinity",
    ...(name === "agent" ? ["Delegate=yes"] : []),
    "",
    "[Install]",
    "WantedBy=multi-user.target",
    "",
  ].join("\n");
}

/** A word of a command line, where `$` begins a variable. */
function quoteWord(text: string): string {
  return quote(text).replaceAll("$", "$$$$");
}

/** Quotes hold text with spaces together; `%` begins a specifier. */
function quote(text: string): string {
  if (/[\n\0]/.test(text)) throw new Error("a unit's value cannot have a line break");
  return `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("%", "%%")}"`;
}
