import { answerJson } from "../http/answer.ts";
import type { Routes } from "../http/exchange.ts";
import type { ResourceOf } from "../resource.ts";

/** distribution-spec v1.1, "Determining Support" (end-1). Clients learn here how to authenticate. */
export function createBaseRoutes(): Routes<ResourceOf<"base">> {
  return { GET: { action: "pull", handle: () => Promise.resolve(answerSupport()) } };
}

function answerSupport(): Response {
  const headers = { "docker-distribution-api-version": "registry/2.0" };
  return answerJson({ value: {}, headers });
}
