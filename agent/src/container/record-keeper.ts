import { mkdirSync } from "node:fs";

import type { Logger } from "pino";

import { replaceFile } from "../durable-file.ts";
import type { ProcessPaths } from "../paths.ts";
import type { ProcessRecord } from "./record.ts";

/** What is known of one process, in memory and on disk. */
export class RecordKeeper {
  readonly #paths: ProcessPaths;
  readonly #logger: Logger;
  #record: ProcessRecord;

  constructor(record: ProcessRecord, paths: ProcessPaths, logger: Logger) {
    this.#record = record;
    this.#paths = paths;
    this.#logger = logger;
  }

  get record(): ProcessRecord {
    return this.#record;
  }

  /** In memory alone; on disk with the next change that is written. */
  note(change: Partial<ProcessRecord>): void {
    this.#record = { ...this.#record, ...change };
  }

  /** A disk that is full must not keep a container from being stopped: what cannot be written now is written with the
   * next change, and until then another life of the agent finds out by itself. */
  save(change: Partial<ProcessRecord>): void {
    try {
      this.write(change);
    } catch (error) {
      const { processId } = this.#record.assignment;
      this.#logger.error({ err: error, process: processId }, "the record could not be written");
    }
  }

  /** As `save`, for what must be on disk before the next step.
   * @throws Error of the file system; the change holds in memory. */
  write(change: Partial<ProcessRecord>): void {
    this.note(change);
    mkdirSync(this.#paths.folder, { recursive: true, mode: 0o700 });
    replaceFile(this.#paths.record, JSON.stringify(this.#record));
  }
}
