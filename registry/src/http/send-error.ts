import { CodedError } from "@strata/protocol/errors";

export type SendErrorCode =
  | "BLOB_UNSOUND" // Shorter than its size, or refused by `inspect`.
  | "CLIENT_GONE"; // Hung up, or took nothing for too long.

export class SendError extends CodedError<SendErrorCode> {}
