import { RegistryError } from "../errors.ts";

const RETRY_AFTER_SECONDS = "30";

/** The upstream gave no answer, or says that it cannot now: another try may help. */
export function unreachable(upstream: string, cause: unknown): RegistryError {
  return new RegistryError("UPSTREAM_UNREACHABLE", `${upstream} does not answer`, {
    cause,
    hint: "what was pulled through before is still served by its digest; the log has the cause",
    headers: { "retry-after": RETRY_AFTER_SECONDS },
  });
}

/** The upstream answered, but not with what it should have. */
export function faulty(upstream: string, what: string, cause?: unknown): RegistryError {
  return new RegistryError("UPSTREAM_FAULTY", `${upstream}: ${what}`, {
    ...(cause === undefined ? {} : { cause }),
    hint: "nothing of it was kept; look at the upstream, or at its rule here",
  });
}

export function isUnreachable(error: unknown): boolean {
  return error instanceof RegistryError && error.code === "UPSTREAM_UNREACHABLE";
}
