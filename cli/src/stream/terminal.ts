import { ReadStream } from "node:tty";

import type { Context, Output } from "../context.ts";

export type TerminalSize = { readonly columns: number; readonly rows: number };

/** Gives every key press and the size of the terminal to the command at the other end, until it is disposed; then the
 * terminal is as it was before. */
export function takeTerminal(
  { stdin, stdout }: Context,
  onSize: (size: TerminalSize) => void,
): Disposable {
  const raw = stdin instanceof ReadStream ? stdin : undefined;
  raw?.setRawMode(true);
  const tell = (): void => onSize(sizeOf(stdout));
  stdout.on("resize", tell);
  tell();
  return {
    [Symbol.dispose]: () => {
      stdout.off("resize", tell);
      raw?.setRawMode(false);
    },
  };
}

function sizeOf({ columns = 80, rows = 24 }: Output): TerminalSize {
  return { columns, rows };
}
