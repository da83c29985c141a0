import process from "node:process";
import { parseArgs } from "node:util";

import { checkHost, describeFindings, isFit } from "../check/check-host.ts";
import type { Command } from "./context.ts";

/** Says what this machine lacks and how to get it; exit status 1 when anything is missing that containers need. */
export const checkCommand: Command = {
  name: "check",
  summary: "say what this machine lacks for running containers, and how to get it [--json]",
  run: async (argv, { config }) => {
    const options = { json: { type: "boolean", default: false } } as const;
    const { values } = parseArgs({ args: [...argv], options });
    const findings = await checkHost(config);
    const fit = isFit(findings);
    const text = values.json
      ? JSON.stringify({ fit, findings }, undefined, 2)
      : describeFindings(findings).join("\n");
    process.stdout.write(`${text}\n`);
    return fit ? 0 : 1;
  },
};
