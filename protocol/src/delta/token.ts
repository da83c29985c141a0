/** Begins a token that is not a plain byte. */
export const ESCAPE = 0xff;
