import { formatBytes } from "@strata/protocol/format-bytes";
/** Transfers as bars on a terminal, and as one line for each that is done anywhere else. */
import type { Digest } from "@strata/protocol/oci/digest";

import { type Context, say } from "../context.ts";
import type { PushProgress } from "../store/push.ts";

export type ProgressDisplay = Disposable & PushProgress;

const REDRAW_MS = 100;
const BAR_CHARACTERS = 24;

type Transfer = { readonly size: number; sent: number; outcome: string | undefined };

/** Disposing draws a last time and stops the redrawing. */
export function createProgress(context: Context): ProgressDisplay {
  const isTerminal = context.stderr.isTTY === true && context.env["TERM"] !== "dumb";
  const transfers = new Map<Digest, Transfer>();
  const screen = isTerminal ? createScreen(context, transfers) : undefined;
  return {
    onBegin: (digest, size) => transfers.set(digest, { size, sent: 0, outcome: undefined }),
    onSent: (digest, sent) => {
      const transfer = transfers.get(digest);
      if (transfer !== undefined) transfer.sent = sent;
    },
    onEnd: (digest, outcome) => {
      const transfer = transfers.get(digest);
      if (transfer === undefined) return;
      transfer.outcome = outcome;
      if (screen === undefined) say(context, line(digest, transfer));
    },
    [Symbol.dispose]: () => screen?.stop(),
  };
}

/** For `--quiet`. */
export function createSilence(): ProgressDisplay {
  const ignore = (): void => undefined;
  return { onBegin: ignore, onSent: ignore, onEnd: ignore, [Symbol.dispose]: ignore };
}

function createScreen(
  context: Context,
  transfers: ReadonlyMap<Digest, Transfer>,
): { readonly stop: () => void } {
  let drawnLines = 0;
  function draw(): void {
    const up = drawnLines === 0 ? "" : `\u001b[${drawnLines}A`;
    const lines = [...transfers].map(
      ([digest, transfer]) => `\u001b[2K${line(digest, transfer)}\n`,
    );
    context.stderr.write(up + lines.join(""));
    drawnLines = lines.length;
  }
  const timer = setInterval(draw, REDRAW_MS);
  timer.unref();
  return {
    stop: () => {
      clearInterval(timer);
      draw();
    },
  };
}

function line(digest: Digest, { size, sent, outcome }: Transfer): string {
  const name = digest.slice(0, "sha256:".length + 12);
  if (outcome !== undefined) return `${name}  ${formatBytes(size)}B ${words[outcome] ?? outcome}`;
  const share = size === 0 ? 0 : Math.min(1, sent / size);
  const full = Math.round(share * BAR_CHARACTERS);
  const bar = "=".repeat(full).padEnd(BAR_CHARACTERS);
  return `${name}  [${bar}] ${formatBytes(sent)}B of ${formatBytes(size)}B`;
}

const words: Readonly<Record<string, string>> = {
  exists: "is there already",
  mounted: "taken from another repository",
  sent: "sent",
  packed: "packed",
  delta: "packed as its difference",
};
