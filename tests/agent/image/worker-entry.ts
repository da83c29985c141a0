/** `strata-agent unpack-worker` alone: it starts four times as fast as the whole agent from its source. */
import { runUnpackWorker } from "@strata/agent/commands/unpack-worker";

const [, ...argv] = process.argv.slice(2);
process.exitCode = await runUnpackWorker(argv);
