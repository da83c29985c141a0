/** The thread that runs one trial and ends. */
import { parentPort, workerData } from "node:worker_threads";

import { runTrial } from "../domain/simulate/trial.ts";

// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread has no origins
parentPort?.postMessage(runTrial(workerData));
