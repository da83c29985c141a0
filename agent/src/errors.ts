import { CodedError } from "@strata/protocol/coded-error";

/** Why the agent cannot do its work; the controller stores the code with the process that it concerns. */
export type AgentErrorCode =
  | "CONFIG_INVALID" // A setting has a value that cannot be used.
  | "HOST_UNFIT" // This machine lacks something that containers need; `strata-agent check` lists it.
  | "TOOL_FAILED" // A program of the distribution ended with an error.
  | "STATE_UNREADABLE" // A file of the agent's own state does not parse.
  | "NOT_JOINED" // There is no identity yet and no token to get one.
  | "JOIN_REFUSED" // The controller does not take this node.
  | "CONTROLLER_UNTRUSTED" // The controller's certificate is not the one that the join token names.
  | "CONTROLLER_UNREACHABLE" // Connect, TLS or 5xx: worth another try.
  | "CONTROLLER_REFUSED" // A 4xx to a message of ours.
  | "DECOMMISSIONED" // An operator deleted this node.
  | "UPGRADE_REFUSED" // The new program cannot be had, or does not run here.
  | "NODE_FULL" // No free address, id range or host port.
  | "PORT_TAKEN" // The wanted host port belongs to another process or program.
  | "CONTAINER_CONFIG_INVALID" // A value of the image or the assignment cannot be put into a container's configuration.
  | "COMMAND_MISSING" // Neither image nor assignment says what to run.
  | "USER_UNKNOWN" // The image has no such user or group.
  | "SECRET_UNAVAILABLE" // The controller, which alone has the value of a secret, could not be asked for it.
  | "SECRET_UNFIT" // The value of a secret cannot be used as the assignment wants it used.
  | "VOLUME_FENCED" // Another process was given the right to write to a volume since.
  | "VOLUME_FAILED" // A volume or a file could not be mounted.
  | "ROOTFS_FAILED" // The root file system could not be mounted or prepared.
  | "START_FAILED" // The container did not come up.
  | "START_DEADLINE_PASSED" // The assignment was to start earlier; too late now.
  | "CRASHED" // The application ended; the crash policy says when it starts again.
  | "STARTUP_FAILED" // Its startup probe did not succeed in time; it was ended and starts again as after a crash.
  | "LIVENESS_FAILED" // Its liveness probe failed too often in a row; likewise.
  | "NOT_READY" // It runs, and a probe says that it is not ready.
  | "LIMIT_UNSUPPORTED" // This host cannot hold a limit that was asked for.
  | "RESIZE_REFUSED" // New limits are below what the process uses; the old ones hold on.
  | "NOT_RUNNING" // There is no running process of this id.
  | "PATH_NOT_FOUND" // The container has no such file or folder.
  | "PATH_UNUSABLE" // It has one that cannot be read or written so; the message has the system's own reason.
  | "ARCHIVE_INVALID" // What was to be unpacked is no tar archive, is damaged, or holds what is never unpacked.
  | "STREAM_FAILED"; // A stream of logs, exec or files broke off.

export class AgentError extends CodedError<AgentErrorCode> {}

/** An operator deleted this node; `epoch` is the one of the state that says so. */
export class DecommissionedError extends AgentError {
  readonly epoch: string | undefined;

  constructor(message: string, epoch: string | undefined) {
    super("DECOMMISSIONED", message, { hint: "to make a node of this machine again, join anew" });
    this.epoch = epoch;
  }
}
