import { CodedError } from "@strata/protocol/coded-error";

/** Why a command did not do what it was asked. `docs/reference/errors.md` names the remedy of each. */
export type CliErrorCode =
  | "USAGE" // The command line, or a file that it names, is not what it should be.
  | "NOT_LOGGED_IN" // No controller is known, or no token for it.
  | "UNREACHABLE" // Connect, TLS or a broken connection: the server gave no answer.
  | "REFUSED" // The server answered, and said no.
  | "ROLLOUT_FAILED" // What --wait waited for failed, or was rolled back.
  | "UPGRADE_FAILED" // A node did not take the agent that it was to run.
  | "TIMED_OUT" // What --wait waited for did not happen in time.
  | "TOOL_MISSING" // A program of the distribution that a build needs is not installed.
  | "TOOL_FAILED" // Such a program ended with an error.
  | "SOURCE_INVALID" // What a cartridge is built from cannot become an image.
  | "LAYOUT_INVALID" // A folder or archive is not an OCI image layout, or is damaged.
  | "ARCHIVE_REFUSED" // What a process sent holds what is never unpacked.
  | "SIGNATURE_INVALID" // An image is not signed by a key that was given.
  | "TARGET_OCCUPIED"; // The place to write to holds something that is not ours to replace.

export class CliError extends CodedError<CliErrorCode> {}

/** The exit codes of every command but `exec`, which ends with the code of what it ran. */
export const exitCodes = {
  ok: 0,
  refused: 1,
  usage: 2,
  unreachable: 3,
  timedOut: 4,
  local: 5,
  interrupted: 130,
} as const;

const codeToExit: Readonly<Record<CliErrorCode, number>> = {
  USAGE: exitCodes.usage,
  NOT_LOGGED_IN: exitCodes.usage,
  UNREACHABLE: exitCodes.unreachable,
  REFUSED: exitCodes.refused,
  ROLLOUT_FAILED: exitCodes.refused,
  UPGRADE_FAILED: exitCodes.refused,
  TIMED_OUT: exitCodes.timedOut,
  TOOL_MISSING: exitCodes.local,
  TOOL_FAILED: exitCodes.local,
  SOURCE_INVALID: exitCodes.usage,
  LAYOUT_INVALID: exitCodes.usage,
  ARCHIVE_REFUSED: exitCodes.refused,
  SIGNATURE_INVALID: exitCodes.refused,
  TARGET_OCCUPIED: exitCodes.usage,
};

/** What an error means for the exit status; anything that is not ours is a local failure. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof CliError) return codeToExit[error.code];
  if (error instanceof CodedError && error.code === "INVALID") return exitCodes.usage;
  return exitCodes.local;
}
