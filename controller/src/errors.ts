import { CodedError } from "@strata/protocol/errors";

import type { RateState } from "./domain/token-bucket.ts";

/** Why the controller says no. Each has one HTTP status in `http/problem.ts` and a remedy in docs/reference/errors.md. */
export type ControllerErrorCode =
  | "UNAUTHENTICATED" // No token, or one that is unknown, expired or revoked.
  | "FORBIDDEN" // The token's scope or tenant does not reach that far.
  | "JOIN_TOKEN_INVALID"
  | "NOT_FOUND"
  | "METHOD_NOT_ALLOWED"
  | "JSON_INVALID" // Not JSON or YAML, or ambiguous (a key twice).
  | "INVALID" // Understood, but a field is not what it must be; `errors[]` names each.
  | "BODY_TOO_LARGE"
  | "BODY_TIMEOUT"
  | "REVISION_STALE" // If-Match names another revision than the present one.
  | "IN_USE" // Others depend on what was to be deleted.
  | "REFERENCE_UNKNOWN" // A field names a partition, policy or cartridge that does not exist.
  | "IMAGE_NOT_FOUND"
  | "IMAGE_NOT_RUNNABLE"
  | "IMAGE_UNSIGNED" // A signature policy wants a signature that the image does not have.
  | "LIMITS_UNSATISFIABLE" // No node of the partition could ever hold one process.
  | "PROCESSES_OUT_OF_BOUNDS" // More or fewer than the scaling policy allows.
  | "JOB_RUNNING" // The job has a run that goes on, and one at a time.
  | "RATIO_DECIDES" // A count was asked for, or a scaler named, where the ratio to another subscription says it.
  | "RELATION_CYCLE" // Subscriptions wait for each other, or take their counts from each other.
  | "ROLLOUT_STATE" // The verb does not fit how far the roll-out is.
  | "ROLLBACK_IMPOSSIBLE" // There is no earlier generation to go back to, or it runs already.
  | "CERTIFICATE_INVALID" // It, its chain and its key do not make one that can be shown.
  | "ACME_DIRECTORY_UNKNOWN" // Not one of the ACME servers that tenants may use.
  | "METRIC_UNKNOWN" // A value was posted that no scaling policy asks for.
  | "NOT_WAKEABLE" // A request came for a subscription that nothing may wake now.
  | "NAME_TAKEN"
  | "HOST_TAKEN" // Another route, or another tenant, has the host.
  | "PORT_TAKEN" // Another route has the TCP port.
  | "QUOTA_EXCEEDED" // The tenant would wish for more than it may have.
  | "PROCESS_NOT_RUNNING"
  | "PATH_NOT_FOUND" // The container has no such file or folder.
  | "PATH_UNUSABLE" // It cannot be read or written so; the message has the system's reason.
  | "ARCHIVE_INVALID" // What was sent is no tar archive, or holds what is never unpacked.
  | "NODE_AWAY"
  | "NODE_DECOMMISSIONED" // An operator deleted the node whose agent asks.
  | "SIMULATION_TIMEOUT" // A simulation took longer than it may.
  | "STREAM_TIMEOUT" // The node did not open the connection in time.
  | "STREAM_FAILED" // The node opened it and then said no, or broke off.
  | "EXEC_TIMEOUT" // The command ran longer than it may.
  | "TOO_MANY" // A bounded queue is full.
  | "RATE_LIMITED" // More requests, or more wrong credentials, than a minute allows.
  | "ISSUER_UNREACHABLE" // The OIDC issuer does not answer, and its keys are not known.
  | "AGENT_NOT_BUILT"
  | "PROTOCOL_UNSUPPORTED"
  | "SECRET_KEY_LOST" // The value of a secret was sealed with a key that is not there.
  | "DATABASE_NEWER" // Written by a later version of this program.
  | "DATABASE_CORRUPT" // It, or its write-ahead log, is damaged.
  | "DATA_IN_USE" // Another program has the data folder open.
  | "BACKUP_RUNNING" // One is being made already.
  | "BACKUP_FAILED" // It could not be made; a full disk, most of the time.
  | "BACKUP_INVALID" // What was to be restored is no backup, cut off or altered.
  | "BACKUP_SEALED" // It is encrypted, and the key or passphrase given does not open it.
  | "EPOCH_UNCONFIRMED" // A restored state deletes nothing until somebody confirms it.
  | "SETTING_INVALID"
  | "STOPPING";

export class ControllerError extends CodedError<ControllerErrorCode> {}

/** With what the caller's bucket says. */
export class RateLimitedError extends ControllerError {
  readonly rate: RateState;

  constructor(message: string, hint: string, rate: RateState) {
    super("RATE_LIMITED", message, { hint, retryable: true });
    this.rate = rate;
  }
}
