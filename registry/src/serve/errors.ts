import { CodedError } from "@strata/protocol/errors";

/** Why the store on its own did not do what it was told. `docs/reference/errors.md` names the remedy of each. */
export type ServeErrorCode =
  | "USAGE" // The command line is not what it should be.
  | "CONFIG_INVALID" // A file of settings, users or a certificate cannot be used.
  | "JOB_FAILED" // The store that runs could not do what it was asked for.
  | "LISTEN_FAILED"; // The address is taken, or not ours.

export class ServeError extends CodedError<ServeErrorCode> {}
