import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

import { z } from "zod";

import { ControllerError } from "../../errors.ts";
import type { Router } from "../route.ts";
import type { Services } from "../services.ts";

const Params = z.object({ platform: z.enum(["linux-amd64", "linux-arm64"]) });

type Binary = { readonly size: number; readonly mtimeMs: number; readonly sha256: string };

const READ_BYTES = 1024 * 1024;

/** The agent for machines that join: whoever can reach us may run it. */
export function addAgentBinaryRoute(router: Router, { config }: Services): void {
  const known = new Map<string, Binary>();
  const describe = async (file: string): Promise<Binary | undefined> => {
    const found = await stat(file).catch(() => undefined);
    if (found?.isFile() !== true) return undefined;
    const { size, mtimeMs } = found;
    const cached = known.get(file);
    if (cached?.size === size && cached.mtimeMs === mtimeMs) return cached;
    const hash = createHash("sha256");
    await pipeline(createReadStream(file, { highWaterMark: READ_BYTES }), hash);
    const binary = { size, mtimeMs, sha256: hash.digest("hex") };
    known.set(file, binary);
    return binary;
  };
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
      const file = join(config.agentDirectory, `strata-agent-${platform}`);
      const binary = await describe(file);
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
