/** `strata-agent delta-worker` alone: it starts faster than the whole agent from its source. */
import { runDeltaWorker } from "@strata/agent/commands/delta-worker";

const [, ...argv] = process.argv.slice(2);
process.exitCode = await runDeltaWorker(argv);
