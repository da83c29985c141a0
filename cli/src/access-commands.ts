/** `strata secret`, `tenant`, `token` and `audit`: who may do what, and who did. */
import type { CommandSpec } from "./command.ts";
import { output } from "./common-options.ts";

export const accessCommands: readonly CommandSpec[] = [
  {
    syntax: "secret",
    summary: "values that only processes are shown",
    children: [
      {
        syntax: "set <name>",
        summary: "give a secret a value, and new processes to what uses it",
        options: [
          { flags: "--from-file <path>", summary: "read the value there [standard input]" },
        ],
        load: () => import("./commands/secret-set.ts"),
      },
      {
        syntax: "ls",
        summary: "list secrets, without their values",
        options: [output],
        load: () => import("./commands/secret-ls.ts"),
      },
      {
        syntax: "delete <name...>",
        summary: "delete secrets that nothing uses",
        load: () => import("./commands/secret-delete.ts"),
      },
    ],
  },
  {
    syntax: "tenant",
    summary: "who shares this installation, and how much of it each may use",
    children: [
      {
        syntax: "set <name>",
        summary: "create or change a tenant; what is left out has no limit",
        options: [
          { flags: "--description <text>", summary: "for people" },
          { flags: "--processes <count>", summary: "of all its subscriptions together" },
          { flags: "--cpu <processors>", summary: "the sum of their limits" },
          { flags: "--memory <size>", summary: "the sum of their limits, like 64Gi" },
          { flags: "--storage <size>", summary: "of its repositories in the store" },
        ],
        load: () => import("./commands/tenant-set.ts"),
      },
      {
        syntax: "ls",
        summary: "list tenants with what they use of their quotas",
        options: [output],
        load: () => import("./commands/tenant-ls.ts"),
      },
      {
        syntax: "delete <name...>",
        summary: "delete tenants that own nothing any more",
        load: () => import("./commands/tenant-delete.ts"),
      },
    ],
  },
  {
    syntax: "token",
    summary: "what programs and people show to the API and the store",
    children: [
      {
        syntax: "create <name>",
        summary: "make a token and print it, this once; --tenant says whose it is",
        options: [
          { flags: "--scope <scope>", summary: "admin, operator, deployer, viewer, push or pull" },
          { flags: "--expires-in <duration>", summary: "like 90d [never]" },
          { flags: "--rate <count>", summary: "requests a minute [the installation's]" },
        ],
        load: () => import("./commands/token-create.ts"),
      },
      {
        syntax: "ls",
        summary: "list tokens with their last use, without their secrets",
        options: [output],
        load: () => import("./commands/token-ls.ts"),
      },
      {
        syntax: "rotate <id>",
        summary: "give a token a new secret and print it, this once",
        options: [
          {
            flags: "--overlap <duration>",
            summary: "the old one is good for so long [not at all]",
          },
          { flags: "--expires-in <duration>", summary: "a new end of life [as before]" },
        ],
        load: () => import("./commands/token-rotate.ts"),
      },
      {
        syntax: "delete <id...>",
        summary: "end tokens at once",
        load: () => import("./commands/token-delete.ts"),
      },
    ],
  },
  {
    syntax: "audit",
    summary: "show who asked for which change, from where, and what came of it",
    options: [
      { flags: "--principal <id>", summary: "of this token, node or person alone" },
      { flags: "--path <beginning>", summary: "of these paths alone, like /v1/secrets" },
      { flags: "--since <time>", summary: "from this time on, like 2026-01-31T00:00:00Z" },
      { flags: "-o, --output <format>", summary: "table or json, one a line [table]" },
    ],
    load: () => import("./commands/audit.ts"),
  },
];
