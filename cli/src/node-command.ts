/** `strata node`. */
import type { CommandSpec } from "./command.ts";
import { output, timeout, wait } from "./common-options.ts";

export const nodeCommand: CommandSpec = {
  syntax: "node",
  summary: "the machines that run processes",
  children: [
    {
      syntax: "ls",
      summary: "list nodes",
      options: [output],
      load: () => import("./commands/node-ls.ts"),
    },
    {
      syntax: "cordon <node>",
      summary: "place no new processes on a node",
      completes: ["node"],
      load: () => import("./commands/node-cordon.ts"),
    },
    {
      syntax: "uncordon <node>",
      summary: "take a node into use again; ends a drain, too",
      completes: ["node"],
      load: () => import("./commands/node-uncordon.ts"),
    },
    {
      syntax: "drain <node>",
      summary: "move the processes of a node elsewhere",
      options: [
        {
          flags: "--deadline <duration>",
          summary: "stop what is left after that, like 10m [wait for ever]",
        },
        wait,
        timeout,
      ],
      completes: ["node"],
      load: () => import("./commands/node-drain.ts"),
    },
    {
      syntax: "roles <node> [role...]",
      summary: "say what a node does beside running processes: ingress",
      options: [
        { flags: "--none", summary: "nothing, whatever its partition says" },
        { flags: "--as-partition", summary: "what its partition says" },
      ],
      completes: ["node"],
      load: () => import("./commands/node-roles.ts"),
    },
    {
      syntax: "rm <node>",
      summary: "give up a node that is drained or silent; its agent stops what it runs, and ends",
      options: [
        { flags: "--force", summary: "even if it holds processes; they begin elsewhere at once" },
      ],
      completes: ["node"],
      load: () => import("./commands/node-rm.ts"),
    },
    {
      syntax: "upgrade [node]",
      summary: "have a node run the agent that the controller serves; containers go on",
      options: [
        { flags: "--partition <partition>", summary: "all its nodes, until one fails" },
        { flags: "--at-once <count>", summary: "so many of them at the same time [1]" },
        wait,
        timeout,
      ],
      completes: ["node"],
      load: () => import("./commands/node-upgrade.ts"),
    },
    {
      syntax: "join-token <partition>",
      summary: "make a token for new nodes, and show the line to run on them",
      options: [
        { flags: "--uses <count>", summary: "how many nodes may join with it [1]" },
        { flags: "--expires-in <duration>", summary: "like 30m or 12h [1h]" },
        { flags: "-q, --quiet", summary: "print the token alone" },
      ],
      completes: ["partition"],
      load: () => import("./commands/node-join-token.ts"),
    },
  ],
};
