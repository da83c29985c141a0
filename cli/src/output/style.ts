import { styleText } from "node:util";

import { type Context, hasColor, type Output } from "../context.ts";

export type Style = Parameters<typeof styleText>[0];

/** Colours text for one output, or leaves it as it is where that output has no colours. */
export function painter(context: Context, output: Output): (style: Style, text: string) => string {
  if (!hasColor(context, output)) return (_style, text) => text;
  return (style, text) => styleText(style, text, { validateStream: false });
}
