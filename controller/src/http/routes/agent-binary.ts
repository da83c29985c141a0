import { createReadStream } from "node:fs";

import { z } from "zod";

import { ControllerError } from "../../errors.ts";
import type { AgentBinaries } from "../agent-binaries.ts";
import type { Router } from "../route.ts";

const Params = z.object({ platform: z.enum(["linux-amd64", "linux-arm64"]) });

const READ_BYTES = 1024 * 1024;

/** The agent for machines that join: whoever can reach us may run it. */
export function addAgentBinaryRoute(router: Router, binaries: AgentBinaries): void {
  router.add({
    method: "get",
    path: "/v1/agent/{platform}",
    access: "public",
    streams: true,
    summary: "The agent as one binary. X-Checksum-Sha256 is its digest.",
    params: Params,
    answers: {
      200: { description: "The binary.", contentType: "application/octet-stream" },
      304: { description: "The one that the client has." },
    },
    handle: async ({ params: { platform }, c }) => {
      const file = binaries.fileOf(platform);
      const binary = await binaries.describe(platform);
      if (binary === undefined) {
        throw new ControllerError("AGENT_NOT_BUILT", `there is no agent for ${platform} here`, {
          hint: `build it with "pnpm build" and put it at ${file}, or set STRATA_AGENT_DIR`,
        });
      }
      const etag = `"sha256:${binary.sha256}"`;
      const headers = { etag, "x-checksum-sha256": binary.sha256, "cache-control": "no-cache" };
      if (c.req.header("if-none-match") === etag) return c.body(null, 304, headers);
      const body = createReadStream(file, { highWaterMark: READ_BYTES, end: binary.size - 1 });
      return c.body(ReadableStream.from(body), 200, {
        ...headers,
        "content-type": "application/octet-stream",
        "content-length": String(binary.size),
      });
    },
  });
}
