import { existsSync, readFileSync } from "node:fs";
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
export function createApi(instance: Instance): Call {
  const token = readFileSync(tokenPath(instance), "utf8").trim();
  return async (method, path, body) => {
    const response = await fetch(`${instance.url}${path}`, {
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

/** True when this instance's own controller is ready to work: it knows our token. Another program on the port may be
 * ready as well, and means that ours is not. */
export async function isReady(instance: Instance): Promise<boolean> {
  if (!existsSync(tokenPath(instance))) return false; // Made at the first start.
  try {
    const ready = await fetch(`${instance.url}/readyz`, { signal: AbortSignal.timeout(2000) });
    if (!ready.ok) return false;
    await createApi(instance)("GET", "/v1/nodes?limit=1");
    return true;
  } catch {
    return false; // Not listening yet, or not ours.
  }
}

function tokenPath({ data }: Instance): string {
  return join(data, "admin-token");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
