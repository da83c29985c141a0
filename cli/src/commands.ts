/** Every command of `strata`. A new one is an entry here and a file in `commands/`. */
import { accessCommands } from "./access-commands.ts";
import { certificateCommand } from "./certificate-command.ts";
import type { CommandSpec, OptionSpec } from "./command.ts";
import { output, timeout, wait } from "./common-options.ts";
import { routeCommand } from "./network-commands.ts";
import { nodeCommand } from "./node-command.ts";

const name: OptionSpec = {
  flags: "-t, --tag <repository:tag>",
  summary: "name in the store [the recipe's name, tag latest]",
};

export const commands: readonly CommandSpec[] = [
  {
    syntax: "login <url>",
    summary: "remember a controller and a token for it",
    options: [
      { flags: "--name <context>", summary: "remember it under this name [default]" },
      { flags: "--token-file <path>", summary: "read the token from a file, - for standard input" },
      { flags: "--ca <path>", summary: "PEM file of the controller's CA" },
      {
        flags: "--ca-fingerprint <hex>",
        summary: "SHA-256 of the controller's CA, which is then fetched from it",
      },
    ],
    load: () => import("./commands/login.ts"),
  },
  {
    syntax: "context [name]",
    summary: "list the remembered controllers, or change the current one",
    load: () => import("./commands/context.ts"),
  },
  {
    syntax: "apply",
    summary: "create or change what files describe, all of it or nothing",
    options: [
      {
        flags: "-f, --file <path>",
        summary: "YAML or JSON documents, - for standard input",
        isRepeatable: true,
      },
      { flags: "--dry-run", summary: "show what would change" },
    ],
    load: () => import("./commands/apply.ts"),
  },
  {
    syntax: "get <kind> [name]",
    summary: "list resources, or show one",
    options: [output],
    completes: ["kind", "name"],
    load: () => import("./commands/get.ts"),
  },
  {
    syntax: "describe <kind> <name>",
    summary: "show all of a resource and what happened to it lately",
    completes: ["kind", "name"],
    load: () => import("./commands/describe.ts"),
  },
  {
    syntax: "delete <kind> <name...>",
    summary: "delete resources",
    completes: ["kind", "name"],
    load: () => import("./commands/delete.ts"),
  },
  {
    syntax: "scale <alias> <processes>",
    summary: "set how many processes a subscription has",
    options: [wait, timeout],
    completes: ["alias"],
    load: () => import("./commands/scale.ts"),
  },
  {
    syntax: "restart <alias>",
    summary: "replace the processes of a subscription one after the other",
    options: [wait, timeout],
    completes: ["alias"],
    load: () => import("./commands/restart.ts"),
  },
  {
    syntax: "rollout",
    summary: "how a change of a subscription comes to its processes",
    children: [
      {
        syntax: "status <alias>",
        summary: "show how far the newest generation is",
        options: [wait, timeout],
        completes: ["alias"],
        load: () => import("./commands/rollout-status.ts"),
      },
      {
        syntax: "history <alias>",
        summary: "list the generations, and how each came in",
        options: [{ flags: "-o, --output <format>", summary: "table, json or yaml [table]" }],
        completes: ["alias"],
        load: () => import("./commands/rollout-history.ts"),
      },
      {
        syntax: "pause <alias>",
        summary: "replace no more processes for now",
        completes: ["alias"],
        load: () => import("./commands/rollout-pause.ts"),
      },
      {
        syntax: "resume <alias>",
        summary: "let a paused roll-out go on",
        options: [wait, timeout],
        completes: ["alias"],
        load: () => import("./commands/rollout-resume.ts"),
      },
      {
        syntax: "promote <alias>",
        summary: "let the rest follow the canaries",
        options: [wait, timeout],
        completes: ["alias"],
        load: () => import("./commands/rollout-promote.ts"),
      },
      {
        syntax: "rollback <alias>",
        summary: "run again what an earlier generation ran",
        options: [
          { flags: "--to <generation>", summary: "this one [the last that was good]" },
          wait,
          timeout,
        ],
        completes: ["alias"],
        load: () => import("./commands/rollout-rollback.ts"),
      },
    ],
  },
  {
    syntax: "placement <process>",
    summary: "say why a process is where it is, or why no node takes it",
    options: [{ flags: "-o, --output <format>", summary: "table or json [table]" }],
    completes: ["process"],
    load: () => import("./commands/placement.ts"),
  },
  {
    syntax: "logs <alias-or-process>",
    summary: "show what processes wrote to standard output and error",
    options: [
      { flags: "-f, --follow", summary: "go on until interrupted" },
      { flags: "--tail <lines>", summary: "begin with this many last lines [all that is kept]" },
      { flags: "--since <time>", summary: "written since: 15m ago, or 2026-01-31T12:00:00Z" },
      { flags: "--until <time>", summary: "written before: as --since" },
      { flags: "-g, --grep <text>", summary: "lines that have this text" },
      { flags: "-E, --regex", summary: "the text is a regular expression, of RE2" },
      { flags: "-i, --ignore-case", summary: "small letters and capitals are the same" },
      {
        flags: "-o, --output <format>",
        summary: "of what is found: text or json, one a line [text]",
      },
    ],
    completes: ["process"],
    load: () => import("./commands/logs.ts"),
  },
  {
    syntax: "exec <alias-or-process> <command...>",
    summary: "run a command inside a process; ends with its exit code",
    options: [
      { flags: "-i, --interactive", summary: "send standard input" },
      { flags: "-t, --tty", summary: "give the command a terminal" },
      { flags: "-e, --env <name=value>", summary: "set a variable", isRepeatable: true },
    ],
    passesOptionsOn: true,
    completes: ["process"],
    load: () => import("./commands/exec.ts"),
  },
  {
    syntax: "cp <source> <target>",
    summary: "copy files out of a process or into it; one of the two is PROCESS:PATH, - is a tar",
    completes: ["process", "process"],
    load: () => import("./commands/cp.ts"),
  },
  {
    syntax: "top <alias-or-process>",
    summary: "show what runs inside a process, and what each uses",
    options: [
      { flags: "-w, --watch", summary: "go on until interrupted" },
      { flags: "-o, --output <format>", summary: "table or json [table]" },
    ],
    completes: ["process"],
    load: () => import("./commands/top.ts"),
  },
  {
    syntax: "cartridge",
    summary: "build, push and list cartridges",
    children: [
      {
        syntax: "build <source>",
        summary:
          "make an OCI image of a folder with cartridge.yaml, a root file system or an LXC image",
        options: [
          name,
          {
            flags: "-o, --output <path>",
            summary: "write an OCI layout, or one file when it ends in .tar",
          },
          { flags: "--push", summary: "push it to the store" },
          {
            flags: "--register",
            summary: "push it, and create or update the cartridge of its name",
          },
          { flags: "--fresh", summary: "install Debian packages again, whatever the cache has" },
          { flags: "--compression <kind>", summary: "gzip, zstd or none [gzip]" },
          { flags: "-q, --quiet", summary: "print the digest alone" },
        ],
        completes: ["path"],
        load: () => import("./commands/cartridge-build.ts"),
      },
      {
        syntax: "push <layout>",
        summary: "push an OCI layout to the store",
        options: [
          name,
          { flags: "--register", summary: "create or update the cartridge of its name" },
          { flags: "-q, --quiet", summary: "print the digest alone" },
        ],
        completes: ["path"],
        load: () => import("./commands/cartridge-push.ts"),
      },
      {
        syntax: "ls",
        summary: "list the repositories of the store and their tags",
        options: [output],
        load: () => import("./commands/cartridge-ls.ts"),
      },
    ],
  },
  {
    syntax: "bundle",
    summary: "carry cartridges to a store that has no network to this one",
    children: [
      {
        syntax: "create [image...]",
        summary: "write images, with their signatures and SBOMs, to one file [all images]",
        options: [
          { flags: "-o, --output <file>", summary: "the file to write, an OCI archive" },
          { flags: "--base <file>", summary: "leave out what this earlier bundle brought" },
          { flags: "--since <time>", summary: "leave out what this store had then: a time, or 7d" },
          { flags: "--agent", summary: "add the agent's binaries" },
          { flags: "--policies", summary: "add policies, and the cartridges of these images" },
          { flags: "-q, --quiet", summary: "print the bundle's digest alone" },
        ],
        load: () => import("./commands/bundle-create.ts"),
      },
      {
        syntax: "load <file>",
        summary: "check a bundle whole, then bring its images to the store",
        options: [
          { flags: "--dry-run", summary: "check it and say what would be loaded" },
          {
            flags: "--verify-key <file>",
            summary: "load only if every image is signed by this public key, or another one given",
            isRepeatable: true,
          },
          {
            flags: "--files <folder>",
            summary: "write the agent and resources of the bundle here",
          },
          { flags: "-q, --quiet", summary: "print nothing" },
        ],
        completes: ["path"],
        load: () => import("./commands/bundle-load.ts"),
      },
    ],
  },
  {
    syntax: "store <command> [options...]",
    summary: "the store on its own: serve, user, gc, scrub, fsck; see strata store serve --help",
    passesOptionsOn: true,
    load: () => import("./commands/store.ts"),
  },
  nodeCommand,
  {
    syntax: "job",
    summary: "cartridges that run to their end",
    children: [
      {
        syntax: "ls",
        summary: "list jobs",
        options: [output],
        load: () => import("./commands/job-ls.ts"),
      },
      {
        syntax: "run <job> [args...]",
        summary: "run a job now, with its own arguments or these",
        options: [
          { flags: "--wait", summary: "return when it has ended: 1 unless it went well" },
          timeout,
        ],
        passesOptionsOn: true,
        load: () => import("./commands/job-run.ts"),
      },
      {
        syntax: "runs <job>",
        summary: "show the last runs of a job; their logs: strata logs PROCESS",
        options: [{ flags: "-o, --output <format>", summary: "table or json [table]" }],
        load: () => import("./commands/job-runs.ts"),
      },
      {
        syntax: "cancel <job> <run>",
        summary: "end a run before its time",
        load: () => import("./commands/job-cancel.ts"),
      },
    ],
  },
  {
    syntax: "volume",
    summary: "folders that outlive processes, each on one node",
    children: [
      {
        syntax: "release <name>",
        summary: "give up what a lost node has of a volume: it is made anew, empty, elsewhere",
        load: () => import("./commands/volume-release.ts"),
      },
    ],
  },
  routeCommand,
  ...accessCommands,
  certificateCommand,
  {
    syntax: "decisions <alias>",
    summary: "show why a subscription has as many processes as it has",
    options: [
      { flags: "--tail <count>", summary: "this many last decisions [20]" },
      { flags: "--changes", summary: "only those that wished for another count" },
      { flags: "--inputs", summary: "with -o json: also what each was decided from" },
      { flags: "-o, --output <format>", summary: "table or json, one a line [table]" },
    ],
    completes: ["alias"],
    load: () => import("./commands/decisions.ts"),
  },
  {
    syntax: "policy",
    summary: "scaling policies",
    children: [
      {
        syntax: "simulate <name>",
        summary: "show what a scaling policy would have decided",
        options: [
          { flags: "--subscription <alias>", summary: "on the stored decisions of a subscription" },
          {
            flags: "--file <path>",
            summary: "on samples: CSV lines seconds,value, or .json with lists by metric",
          },
          {
            flags: "--set <path=value>",
            summary: "with a field changed, like max=20 or metrics.0.target=5",
            isRepeatable: true,
          },
          { flags: "--initial <count>", summary: "begin with this many processes" },
          { flags: "--svg <path>", summary: "write the plot there as well" },
          { flags: "--json", summary: "all figures, for programs" },
        ],
        load: () => import("./commands/policy-simulate.ts"),
      },
    ],
  },
  {
    syntax: "simulate <scenario>",
    summary: "run a scenario of loads, prices and failures through the scalers, beside Kubernetes",
    options: [
      { flags: "--json", summary: "all figures, for programs" },
      { flags: "--plot", summary: "draw each subscription in the terminal" },
      { flags: "--svg <folder>", summary: "write a plot of each run and subscription there" },
      { flags: "--alone", summary: "without the baselines to compare with" },
    ],
    completes: ["path"],
    load: () => import("./commands/simulate.ts"),
  },
  {
    syntax: "backup",
    summary: "write all of an installation to one file, while it works; it holds every secret",
    options: [
      { flags: "-o, --output <file>", summary: "the file to write [strata-TIME.tar.zst]" },
      { flags: "--blobs", summary: "with the layers of all images" },
      {
        flags: "--encrypt-to <recipient>",
        summary: "a public key of age, age1…, that it is encrypted for",
        isRepeatable: true,
      },
      {
        flags: "--passphrase-file <file>",
        summary: "encrypt it with the first line of this file",
      },
    ],
    load: () => import("./commands/backup.ts"),
  },
  {
    syntax: "restore <file> [options...]",
    summary:
      "make an installation of a backup, its controller stopped; options: strata restore FILE --help",
    passesOptionsOn: true,
    load: () => import("./commands/restore.ts"),
  },
  {
    syntax: "epoch",
    summary: "what a restored controller does not know, and the word that lets it act",
    children: [
      {
        syntax: "show",
        summary: "show whether the state was restored, and what it does not know",
        load: () => import("./commands/epoch-show.ts"),
      },
      {
        syntax: "confirm",
        summary: "act on a restored state from now on",
        load: () => import("./commands/epoch-confirm.ts"),
      },
    ],
  },
  {
    syntax: "events",
    summary: "show what has happened",
    options: [
      { flags: "-f, --follow", summary: "go on until interrupted" },
      { flags: "--tail <count>", summary: "begin with this many last events [50]" },
      { flags: "--subject <name>", summary: "of one thing only" },
      { flags: "-o, --output <format>", summary: "table or json, one a line [table]" },
    ],
    load: () => import("./commands/events.ts"),
  },
  {
    syntax: "metrics",
    summary: "what processes, subscriptions and nodes used over time",
    children: [
      {
        syntax: "query [metric]",
        summary: "show figures of the last hour, day or two weeks; without a name, which there are",
        options: [
          { flags: "--subscription <alias>", summary: "of one subscription" },
          { flags: "--process <id>", summary: "of one process" },
          { flags: "--node <name>", summary: "of one node, or of the processes on it" },
          {
            flags: "--since <time>",
            summary: "from then on: 2h ago, or 2026-01-31T12:00:00Z [1h]",
          },
          { flags: "--until <time>", summary: "up to then: as --since [now]" },
          { flags: "--step <time>", summary: "one point for each so long [as fits]" },
          {
            flags: "--agg <kind>",
            summary: "avg, sum, max, min, p95 or last [sum of groups, avg of others]",
          },
          { flags: "--by <kind>", summary: "process, subscription or node [as named]" },
          { flags: "-o, --output <format>", summary: "table, csv or json [table]" },
        ],
        load: () => import("./commands/metrics-query.ts"),
      },
    ],
  },
  {
    syntax: "completion <shell>",
    summary: "print the completions for bash, zsh or fish",
    completes: ["shell"],
    load: () => import("./commands/completion.ts"),
  },
  {
    syntax: "__complete [words...]",
    summary: "what the completions of a shell ask",
    isHidden: true,
    passesOptionsOn: true,
    load: () => import("./commands/complete.ts"),
  },
  {
    syntax: "version",
    summary: "show the versions of this program and of the controller",
    load: () => import("./commands/version.ts"),
  },
];

/** Understood by every command. */
export const globalOptions: readonly OptionSpec[] = [
  { flags: "--context <name>", summary: "use this login instead of the current one" },
  { flags: "--tenant <name>", summary: "act for this tenant; for admins" },
];
