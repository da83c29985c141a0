/** The commands of the stand-alone store: `strata store …`, or `node registry/src/main.ts …`. */
import { CodedError } from "@strata/protocol/errors";

import { type Arguments, type OptionKinds, readArguments } from "./serve/arguments.ts";
import { ServeError } from "./serve/errors.ts";
import type { World } from "./world.ts";

const help = `Usage: strata store [serve] [OPTION…]
       strata store user set NAME [--pull REPOSITORY…] [--push REPOSITORY…] [--delete REPOSITORY…]
       strata store user token NAME | remove NAME | list
       strata store gc [--grace TIME] | scrub [--rate SIZE] [--for TIME] | fsck [--deep]

An OCI registry without the rest of Strata.
  --data DIR            where blobs and metadata are kept [STRATA_STORE_DATA, /var/lib/strata/store]
  --blobs s3://BUCKET/PREFIX?endpoint=URL&region=REGION   keep the blobs in a bucket of S3 [STRATA_STORE_BLOBS];
                        credentials come from where AWS tools take them, like AWS_ACCESS_KEY_ID

serve:
  --config FILE         mirrors, retention and upkeep, as YAML; see docs/reference/store-serve.md
  --host ADDRESS        address to listen on [STRATA_STORE_HOST, 127.0.0.1]
  --port PORT           port, 0 for any free one [STRATA_STORE_PORT, 5000]
  --tls-cert, --tls-key FILE   certificate with its chain, and key, as PEM; without them plain HTTP
  --users FILE          who may do what [users.json in DIR; without it anybody may do everything]
  --public-url URL      how clients reach it, when there is a proxy in front

user: writes the file of users, which a running store takes up at once.
  --pull, --push, --delete PATTERN   repositories, as a name or a pattern with * and ?; may be repeated
  --password-file FILE  read the password there, - for standard input [a new user gets one, which is printed]
  --no-password         the user has tokens alone
  --read-only           the token pulls, whatever its user may do
  --expires-in TIME     how long the token is valid, like 30d [for good]

gc, scrub, fsck: say what they did; --json as JSON, --dry-run without doing it. gc and scrub work while the store
runs, for fsck it must be stopped.
  --config FILE         for gc the retention policies, for scrub the mirrors, when the store is stopped
  --grace TIME          gc: keep what was used within this time [24h]
  --rate SIZE           scrub: read no faster than this in a second [20Mi]
  --for TIME            scrub: stop after so long, to go on there next time [no limit]
  --deep                fsck: hash every blob, and not only look at its length
fsck makes lost or damaged metadata anew from the journal, and holds it against the blobs.

Exit status: 0 done, 1 blobs are lost or corrupt, 2 wrong use, 5 failed on this machine.
`;

type Command = {
  readonly options: OptionKinds;
  /** Words that may stand, the command's own name among them. */
  readonly wordsMax: number;
  readonly run: (world: World, args: Arguments) => Promise<number>;
};

const data: OptionKinds = { data: "text", blobs: "text", config: "text" };
const report: OptionKinds = { ...data, "dry-run": "flag", json: "flag" };

/** The code of a command is loaded when it runs: each pays for what it uses. */
const commands: ReadonlyMap<string, Command> = new Map([
  [
    "serve",
    {
      options: {
        ...data,
        host: "text",
        port: "text",
        users: "text",
        "public-url": "text",
        "tls-cert": "text",
        "tls-key": "text",
      },
      wordsMax: 1,
      run: async (world, args) => (await import("./serve/serve.ts")).serve(world, args),
    },
  ],
  [
    "gc",
    {
      options: { ...report, grace: "text" },
      wordsMax: 1,
      run: async (world, args) => (await import("./maintain/job-command.ts")).runGc(world, args),
    },
  ],
  [
    "scrub",
    {
      options: { ...report, rate: "text", for: "text" },
      wordsMax: 1,
      run: async (world, args) => (await import("./maintain/job-command.ts")).runScrub(world, args),
    },
  ],
  [
    "fsck",
    {
      options: { ...report, deep: "flag" },
      wordsMax: 1,
      run: async (world, args) => (await import("./maintain/fsck-command.ts")).runFsck(world, args),
    },
  ],
  [
    "user",
    {
      options: {
        data: "text",
        users: "text",
        pull: "list",
        push: "list",
        delete: "list",
        "password-file": "text",
        "no-password": "flag",
        "read-only": "flag",
        "expires-in": "text",
      },
      wordsMax: 3,
      run: async (world, args) => (await import("./serve/user-command.ts")).runUser(world, args),
    },
  ],
]);

const exitCodes = { usage: 2, local: 5 } as const;

/** Runs one command line and gives the exit status. Never throws. */
export async function runCommandLine(world: World, argv: readonly string[]): Promise<number> {
  try {
    if (argv.includes("--help") || argv.includes("-h")) {
      world.stdout.write(help);
      return 0;
    }
    const [name = "serve"] = argv[0]?.startsWith("-") === false ? argv : [];
    const command = commands.get(name);
    if (command === undefined) {
      throw new ServeError("USAGE", `there is no command ${JSON.stringify(name)}`, {
        hint: "see --help",
      });
    }
    return await command.run(world, readArguments(argv, command.options, command.wordsMax));
  } catch (error) {
    const hint = error instanceof CodedError ? error.hint : undefined;
    const message = error instanceof Error ? error.message : String(error);
    world.stderr.write(`error: ${message}\n${hint === undefined ? "" : `hint: ${hint}\n`}`);
    const isUsage =
      error instanceof CodedError && (error.code === "USAGE" || error.code === "INVALID");
    return isUsage ? exitCodes.usage : exitCodes.local;
  }
}
