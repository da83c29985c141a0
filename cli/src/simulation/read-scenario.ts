/** A scenario file and the traces that lie beside it. */
import { readFile, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

import {
  type Scenario,
  ScenarioInput,
  traceNames,
} from "@strata/controller/domain/simulate/scenario";
import {
  parseTraceCsv,
  parseTraceJson,
  type Traces,
  type TraceSample,
} from "@strata/controller/domain/simulate/trace";
import { getErrorCode } from "@strata/protocol/coded-error";
import { parseDocument } from "yaml";

import { CliError } from "../errors.ts";

const SCENARIO_BYTES_MAX = 4 * 1024 * 1024;
const TRACE_BYTES_MAX = 64 * 1024 * 1024;
/** A file that is wrong throughout is not told all at once. */
const FAULTS_SHOWN_MAX = 20;

export type ScenarioFile = { readonly scenario: Scenario; readonly traces: Traces };

/** @throws CliError USAGE for a file that is not there, SOURCE_INVALID naming each wrong field */
export async function readScenario(path: string): Promise<ScenarioFile> {
  const scenario = parseScenario(await readText(path, SCENARIO_BYTES_MAX), path);
  const traces = await Promise.all(
    traceNames(scenario).map(
      async (name) => [name, await readTrace(join(dirname(path), name))] as const,
    ),
  );
  return { scenario, traces: Object.fromEntries(traces) };
}

function parseScenario(text: string, file: string): Scenario {
  // JSON is YAML too.
  const document = parseDocument(text, { uniqueKeys: true });
  const broken = document.errors[0];
  if (broken !== undefined) {
    throw new CliError("SOURCE_INVALID", `${file} is neither YAML nor JSON: ${broken.message}`, {
      cause: broken,
    });
  }
  const result = ScenarioInput.safeParse(document.toJS({ maxAliasCount: 1000 }));
  if (result.success) return result.data;
  const { issues } = result.error;
  const lines = issues
    .slice(0, FAULTS_SHOWN_MAX)
    .map((issue) => `  ${issue.path.join(".") || "(top)"}: ${issue.message}`);
  if (issues.length > lines.length) lines.push(`  and ${issues.length - lines.length} more`);
  throw new CliError("SOURCE_INVALID", `${file} is not a scenario\n${lines.join("\n")}`, {
    hint: "docs/reference/simulate.md lists every field",
  });
}

async function readTrace(path: string): Promise<readonly TraceSample[]> {
  const text = await readText(path, TRACE_BYTES_MAX);
  try {
    return path.endsWith(".json") ? parseTraceJson(text) : parseTraceCsv(text);
  } catch (cause) {
    throw new CliError("SOURCE_INVALID", `${basename(path)} is not a trace`, {
      cause,
      hint: "write lines like seconds,value in the order of time, or the same as JSON pairs",
    });
  }
}

async function readText(path: string, bytesMax: number): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size > bytesMax) {
      throw new CliError("SOURCE_INVALID", `${path} has ${size} bytes, at most ${bytesMax}`);
    }
    return await readFile(path, "utf8");
  } catch (cause) {
    const code = getErrorCode(cause);
    if (code !== "ENOENT" && code !== "EISDIR" && code !== "ENOTDIR") throw cause;
    throw new CliError("USAGE", `${path} is not a file`, {
      hint: "name a scenario; its traces lie in the same folder",
    });
  }
}
