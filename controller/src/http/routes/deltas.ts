import {
  DELTA_ARCHIVE_HEADER,
  DELTA_BASES_HEADER,
  DeltaRequest,
} from "@strata/protocol/agent/messages";
import { z } from "zod";

import type { Router } from "../route.ts";
import type { Services } from "../services.ts";

const Params = z.object({ id: z.string().max(100) });

/** Any node may pull any repository, so any may have a delta of it. */
export function addDeltaRoute(router: Router, { deltas }: Services): void {
  router.add({
    method: "post",
    path: "/v1/nodes/{id}/deltas",
    access: "node",
    streams: true,
    summary:
      "A layer as its difference from layers that the node has; made when it is asked for first.",
    params: Params,
    body: DeltaRequest,
    answers: {
      200: {
        description: `The delta. ${DELTA_BASES_HEADER} names the layers that it builds on.`,
        contentType: "application/octet-stream",
      },
      204: { description: "The whole layer is no worse." },
    },
    handle: async ({ body, c }) => {
      const delta = await deltas.find(body);
      if (delta === undefined) return c.body(null, 204);
      return c.body(Buffer.from(delta.bytes), 200, {
        "content-type": "application/octet-stream",
        "content-length": String(delta.bytes.length),
        [DELTA_BASES_HEADER]: delta.bases.join(" "),
        [DELTA_ARCHIVE_HEADER]: String(delta.archiveBytes),
      });
    },
  });
}
