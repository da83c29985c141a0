import { CodedError } from "@strata/protocol/errors";

/** Why a provider could not do what was asked. */
export type ProviderErrorCode =
  | "PROVIDER_QUOTA" // The account's own limit is reached: something must be deleted, or the limit raised.
  | "PROVIDER_CAPACITY" // The provider has no such machine left now: try later, or the next provider.
  | "PROVIDER_AUTH" // The credentials are refused: a person must change them.
  | "PROVIDER_UNREACHABLE" // Connect, TLS, name or 5xx: nothing is known to have been done.
  | "PROVIDER_INVALID" // The request or the settings are wrong: the same call fails again.
  | "PROVIDER_TIMEOUT" // No answer in time: it may have been done, so ask again with the same client token.
  | "PROVIDER_FAILED"; // It answered with a failure that no other code names; its text is in the message.

/** Whether the same call may succeed later without anybody changing a setting. */
export const providerErrorRetryable: Readonly<Record<ProviderErrorCode, boolean>> = {
  PROVIDER_QUOTA: true,
  PROVIDER_CAPACITY: true,
  PROVIDER_AUTH: false,
  PROVIDER_UNREACHABLE: true,
  PROVIDER_INVALID: false,
  PROVIDER_TIMEOUT: true,
  PROVIDER_FAILED: true,
};

/** The only error that a provider throws, but for the reason of an aborted signal. */
export class ProviderError extends CodedError<ProviderErrorCode> {
  constructor(
    code: ProviderErrorCode,
    message: string,
    options: { readonly cause?: unknown; readonly hint?: string } = {},
  ) {
    super(code, message, { ...options, retryable: providerErrorRetryable[code] });
  }
}
