/** `pnpm check [PATH…]`: types, lint, format, dead code and tidiness, side by side. Prints what failed and one
 * line of summary. With paths it looks at those alone and leaves dead code out, which only shows in the whole. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { globSync } from "node:fs";
import { text } from "node:stream/consumers";

import { root } from "./root.ts";
import { toolPath } from "./tool-path.ts";

type Check = { readonly name: string; readonly command: readonly string[] };
type Outcome = { readonly name: string; readonly output: string };

const paths = process.argv.slice(2).map((path) => path.replace(/\/$/, ""));
const startedAt = performance.now();
const outcomes = await Promise.all(planChecks(paths).map((check) => runCheck(check)));
const failed = outcomes.filter(({ output }) => output !== "");
for (const { name, output } of failed) console.log(`--- ${name}\n${output}\n`);

const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
const names = (some: readonly Outcome[]): string => some.map(({ name }) => name).join(", ");
console.log(
  failed.length === 0
    ? `check: ${names(outcomes)}: ok in ${seconds} s`
    : `check: ${names(failed)} failed in ${seconds} s`,
);
process.exitCode = failed.length === 0 ? 0 : 1;

function planChecks(only: readonly string[]): readonly Check[] {
  const shell = globSync(
    ["scripts/{bench,down,env,setup,supervise,test,up}", ".ci/run", "strata"],
    {
      cwd: root,
    },
  );
  const whole: readonly Check[] = [
    { name: "shellcheck", command: ["shellcheck", "--external-sources", ...shell] },
    { name: "knip", command: ["knip", "--no-progress", "--treat-config-hints-as-errors"] },
  ];
  return [
    { name: "tsc", command: ["tsc", "--pretty", "false", "-p", "."] },
    { name: "oxlint", command: ["oxlint", "--format", "unix", ...only] },
    { name: "oxfmt", command: ["oxfmt", "--list-different", ...(only.length > 0 ? only : ["."])] },
    { name: "tidy", command: ["node", "scripts/tidy.ts", ...only] },
    ...(only.length > 0 ? [] : whole),
  ];
}

/** What the tool complained about; empty when it is content. */
async function runCheck({ name, command }: Check): Promise<Outcome> {
  const [program = "", ...args] = command;
  const child = spawn(program, args, {
    cwd: root,
    env: { ...process.env, PATH: toolPath(), NO_COLOR: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "close"),
  ]);
  if (code === 0) return { name, output: "" };
  const output = `${stdout}${stderr}`.trim();
  // The compiler knows only the whole program: its lines are picked by path afterwards.
  if (name === "tsc" && paths.length > 0) return { name, output: pickLines(output) };
  return { name, output: output === "" ? `exit status ${code}` : output };
}

function pickLines(output: string): string {
  return output
    .split("\n")
    .filter((line) => paths.some((path) => line.startsWith(path)))
    .join("\n");
}
