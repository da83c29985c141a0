import type { IncomingMessage, ServerResponse } from "node:http";

import { mediaTypes } from "@strata/protocol/oci/media-type";

import type { AppImage } from "../../agent/image/an-app-image.ts";
import type { OtherRoutes } from "../../agent/support/a-controller.ts";
import { digestOf } from "../registry-client.ts";

/** How a blob travels: so many pieces, and a pause after each, as over a slow line. */
const PIECES = 12;
const PAUSE_MS = 8;

export type SlowRegistry = {
  readonly routes: OtherRoutes;
  /** Answers under way. */
  readonly requests: () => number;
};

/** The repository `app` with these images, over a line so slow that a pull can be met half-way. */
export function aSlowRegistry(images: readonly AppImage[]): SlowRegistry {
  const answers = new Map<string, { readonly type: string; readonly body: Buffer }>();
  for (const { manifest, blobs } of images) {
    const { mediaType, bytes, digest } = manifest;
    answers.set(`/v2/app/manifests/${digest}`, { type: mediaType, body: bytes });
    for (const body of blobs) {
      answers.set(`/v2/app/blobs/${digestOf(body)}`, { type: mediaTypes.layerGzip, body });
    }
  }
  let underWay = 0;
  return {
    requests: () => underWay,
    routes: (request: IncomingMessage, response: ServerResponse) => {
      const answer = answers.get(request.url ?? "");
      if (answer === undefined) return false;
      underWay += 1;
      response.once("close", () => (underWay -= 1));
      response.writeHead(200, {
        "content-type": answer.type,
        "content-length": answer.body.length,
      });
      sendPiece(response, answer.body, 0);
      return true;
    },
  };
}

function sendPiece(response: ServerResponse, body: Buffer, from: number): void {
  const to = Math.min(body.length, from + Math.ceil(body.length / PIECES));
  response.write(body.subarray(from, to));
  if (response.destroyed) return;
  if (to >= body.length) response.end();
  else setTimeout(() => sendPiece(response, body, to), PAUSE_MS);
}
