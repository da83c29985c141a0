/** Options that many commands have. */
import type { OptionSpec } from "./command.ts";

export const output: OptionSpec = {
  flags: "-o, --output <format>",
  summary: "table, wide, json, yaml or name [table]",
};
export const wait: OptionSpec = { flags: "--wait", summary: "return when it is done" };
export const timeout: OptionSpec = {
  flags: "--timeout <seconds>",
  summary: "give up waiting then [300]",
};
