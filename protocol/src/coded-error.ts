/** The project's errors, without the schemas of `errors.ts`: a program that has to start at once imports this. */

/** An operating error that callers branch on by its `code`. Programmer errors are `assert`s and crash.
 * `hint` names the remedy in the user's words; `retryable` says whether the same call may succeed later. */
export class CodedError<Code extends string = string> extends Error {
  readonly code: Code;
  readonly hint: string | undefined;
  readonly retryable: boolean;

  constructor(
    code: Code,
    message: string,
    options: {
      readonly cause?: unknown;
      readonly hint?: string;
      readonly retryable?: boolean;
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "CodedError";
    this.code = code;
    this.hint = options.hint;
    this.retryable = options.retryable ?? false;
  }
}

/** The `code` of an error made by this project or by Node (`ENOENT`), or undefined. */
export function getErrorCode(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

type ParseErrorCode = "INVALID";

/** Text that is not what it should be; thrown by every `parse…` of this package. */
export class ParseError extends CodedError<ParseErrorCode> {
  constructor(message: string, options: { readonly cause?: unknown; readonly hint?: string } = {}) {
    super("INVALID", message, options);
  }
}
