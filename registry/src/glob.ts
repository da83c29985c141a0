/** Longer patterns are refused, so that matching stays quick. */
export const GLOB_LENGTH_MAX = 255;

/** Makes a test of a pattern: `*` stands for any run of characters, `?` for one, all else for itself. Linear in the
 * text for each `*`; no pattern makes it hang.
 * @throws TypeError when the pattern is empty or too long */
export function compileGlob(pattern: string): (text: string) => boolean {
  if (pattern === "" || pattern.length > GLOB_LENGTH_MAX) {
    throw new TypeError(`a pattern has 1 to ${GLOB_LENGTH_MAX} characters`);
  }
  return (text) => matches(pattern, text);
}

/** Goes back to the last star only: whatever an earlier one could still take, the last one can take too. */
function matches(pattern: string, text: string): boolean {
  let at = 0;
  let position = 0;
  let star = -1;
  let starPosition = 0;
  while (position < text.length) {
    const wanted = pattern[at];
    if (wanted === "*") {
      star = at;
      starPosition = position;
      at += 1;
    } else if (wanted === "?" || wanted === text[position]) {
      at += 1;
      position += 1;
    } else if (star >= 0) {
      starPosition += 1;
      position = starPosition;
      at = star + 1;
    } else {
      return false;
    }
  }
  return /^\**$/.test(pattern.slice(at));
}
