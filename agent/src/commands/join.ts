import { readFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";

import { requireFitHost } from "../check/check-host.ts";
import { AgentError } from "../errors.ts";
import { type Identity, readIdentity, writeIdentity } from "../identity.ts";
import { join } from "../join.ts";
import { readOrMakeMachineId } from "../machine-id.ts";
import { agentPaths } from "../paths.ts";
import { AGENT_VERSION } from "../version.ts";
import type { Command, CommandContext } from "./context.ts";

export type JoinWish = {
  readonly controller: string | undefined;
  readonly token: string | undefined;
  readonly name: string | undefined;
  readonly address: string | undefined;
  readonly labels: string | undefined;
};

export const joinOptions = {
  controller: { type: "string" },
  token: { type: "string" },
  "token-file": { type: "string" },
  name: { type: "string" },
  address: { type: "string" },
  labels: { type: "string" },
} as const;

/** Joins once; a second call with an identity in place says so and changes nothing. */
export const joinCommand: Command = {
  name: "join",
  summary:
    "make this machine a node: --controller URL (--token-file FILE | --token -) [--name N] [--address A] [--labels k=v,…]",
  run: async (argv, context) => {
    const { values } = parseArgs({ args: [...argv], options: joinOptions });
    const wish = readWish(values, context.environment);
    const known = readIdentity(agentPaths(context.config).identity);
    if (known !== undefined) {
      process.stdout.write(
        `already node ${known.name} (${known.nodeId}) of ${known.controllerUrl}\n`,
      );
      return 0;
    }
    const identity = await joinNow(wish, context);
    process.stdout.write(`joined as node ${identity.name} (${identity.nodeId})\n`);
    return 0;
  },
};

type JoinValues = { readonly [Name in keyof typeof joinOptions]?: string | undefined };

/** The token comes by standard input or a file: everybody on the machine can read the arguments of a process. */
export function readWish(values: JoinValues, environment: CommandContext["environment"]): JoinWish {
  const file = values["token-file"] ?? environment.STRATA_JOIN_TOKEN_FILE;
  const inline = values.token === "-" ? readFileSync(0, "utf8") : values.token;
  return {
    controller: values.controller ?? environment.STRATA_CONTROLLER,
    token: inline ?? (file === undefined ? undefined : readFileSync(file, "utf8")),
    name: values.name ?? environment.STRATA_NODE_NAME,
    address: values.address ?? environment.STRATA_NODE_ADDRESS,
    labels: values.labels ?? environment.STRATA_NODE_LABELS,
  };
}

/** @throws AgentError NOT_JOINED when the wish says too little, HOST_UNFIT, and those of `join` */
export async function joinNow(wish: JoinWish, context: CommandContext): Promise<Identity> {
  const { controller, token, name, address } = wish;
  if (controller === undefined || token === undefined) {
    throw new AgentError("NOT_JOINED", "this machine is no node yet", {
      hint: "get a token with POST /v1/join-tokens, then: strata-agent join --controller URL --token-file FILE",
    });
  }
  await requireFitHost(context.config);
  const paths = agentPaths(context.config);
  const identity = await join({
    controllerUrl: controller,
    token,
    name,
    address,
    labels: parseLabels(wish.labels ?? ""),
    machineId: await readOrMakeMachineId(paths.machineId, context.newId),
    agentVersion: AGENT_VERSION,
  });
  await writeIdentity(paths.identity, identity);
  return identity;
}

function parseLabels(text: string): Readonly<Record<string, string>> {
  const pairs = text.split(",").filter((pair) => pair !== "");
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf("=");
      if (at < 1) {
        throw new AgentError("CONFIG_INVALID", `${JSON.stringify(pair)} is not a label`, {
          hint: "write name=value, several with commas in between",
        });
      }
      return [pair.slice(0, at), pair.slice(at + 1)] as const;
    }),
  );
}
