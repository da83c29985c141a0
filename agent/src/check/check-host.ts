import type { AgentConfig } from "../config.ts";
import { AgentError } from "../errors.ts";
import { listNeeds, type Need } from "./host-needs.ts";

export type Finding = Pick<Need, "name" | "level" | "what" | "remedy"> & {
  readonly met: boolean;
  /** What stood in the way, where that is known. */
  readonly detail?: string;
};

/** Looks at this machine, and tries what cannot be seen. Changes nothing. */
export async function checkHost(config: AgentConfig): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (const need of listNeeds(config)) findings.push(await judge(need));
  return findings;
}

async function judge({ isMet, ...need }: Need): Promise<Finding> {
  try {
    const answer = await isMet();
    return typeof answer === "string"
      ? { ...need, met: false, detail: answer }
      : { ...need, met: answer };
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    return { ...need, met: false, detail: detail.replaceAll(/\s+/g, " ") };
  }
}

export function isFit(findings: readonly Finding[]): boolean {
  return missing(findings).length === 0;
}

function missing(findings: readonly Finding[]): readonly Finding[] {
  return findings.filter(({ level, met }) => level === "required" && !met);
}

/** For a person: what is missing and how to get it, then what would be better. Pure. */
export function describeFindings(findings: readonly Finding[]): readonly string[] {
  const unmet = findings.filter(({ met }) => !met);
  const line = ({ what, detail, remedy }: Finding): string =>
    `${what}${detail === undefined ? "" : ` (${detail})`}: ${remedy}`;
  return [
    ...missing(findings).map((finding) => `missing: ${line(finding)}`),
    ...unmet
      .filter(({ level }) => level === "optional")
      .map((finding) => `optional: ${line(finding)}`),
    ...(isFit(findings) ? ["this machine can run containers"] : []),
  ];
}

/** What a machine lacks is said before it is a node that cannot work.
 * @throws AgentError HOST_UNFIT */
export async function requireFitHost(config: AgentConfig): Promise<void> {
  const findings = await checkHost(config);
  if (isFit(findings)) return;
  const lines = describeFindings(findings).filter((line) => line.startsWith("missing: "));
  throw new AgentError(
    "HOST_UNFIT",
    `this machine cannot run containers yet\n${lines.join("\n")}`,
    {
      hint: "get what is missing, then run it again; `strata-agent check` looks without joining",
    },
  );
}
