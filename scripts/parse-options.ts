import { parseArgs, type ParseArgsConfig } from "node:util";

/** As parseArgs, but what is not understood ends the program with one line and status 2 in place of a stack trace. */
export function parseOptions<Config extends ParseArgsConfig>(
  script: string,
  config: Config,
): ReturnType<typeof parseArgs<Config>> {
  try {
    return parseArgs(config);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    console.error(`${script}: ${error.message}\n    See ${script} --help.`);
    process.exit(2);
  }
}
