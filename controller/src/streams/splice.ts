import type { Duplex } from "node:stream";

/** Joins two connections: what one says the other hears, a slow one slows the other, and when one ends or breaks both
 * are closed. */
export function splice(left: Duplex, right: Duplex): void {
  const close = (): void => {
    left.destroy();
    right.destroy();
  };
  for (const [from, to] of [
    [left, right],
    [right, left],
  ] as const) {
    from.pipe(to);
    from.on("error", close);
    from.on("close", () => {
      // What is still on its way to the other is delivered before that one is closed.
      to.end();
      to.once("finish", close);
      setTimeout(close, LINGER_MS).unref();
    });
  }
}

const LINGER_MS = 5000;
