import { readFileSync } from "node:fs";
import { join } from "node:path";

import { Problem } from "@strata/protocol/errors";

import { type Instance, SetupError } from "./instance.ts";

const REQUEST_TIMEOUT_MS = 10_000;

export type Call = (
  method: "GET" | "PUT" | "POST" | "DELETE",
  path: string,
  body?: unknown,
) => Promise<unknown>;

/** Calls the control API as the administrator of this machine's instance. A GET of what is not there gives undefined.
 * @throws SetupError with the controller's own explanation when it refuses. */
export function createApi({ data, url }: Instance): Call {
  const token = readFileSync(join(data, "admin-token"), "utf8").trim();
  return async (method, path, body) => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    const text = await response.text();
    if (response.ok) return text === "" ? undefined : JSON.parse(text);
    if (method === "GET" && response.status === 404) return undefined;
    const problem = Problem.safeParse(parseJson(text));
    throw new SetupError(
      `${method} ${path} was refused: ${problem.data?.detail ?? `${response.status} ${text.slice(0, 200)}`}`,
      problem.data?.hint ?? "see the controller's log",
    );
  };
}

/** True when the controller says that it is ready to work. */
export async function isReady({ url }: Instance): Promise<boolean> {
  try {
    const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2000) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false; // Not listening yet.
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
