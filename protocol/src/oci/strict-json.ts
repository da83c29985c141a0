import { ParseError } from "../coded-error.ts";

/** Deeper than any manifest, and far from any parser's limit. */
const DEPTH_MAX = 64;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Parses JSON that all parsers read alike: UTF-8, no byte order mark, no name twice in one object, bounded depth.
 * @throws ParseError */
export function parseStrictJson(bytes: Uint8Array): unknown {
  const text = decode(bytes);
  const value = parse(text);
  if (countNames(text) !== countKeys(value, 1)) refuseAmbiguity(text);
  return value;
}

function decode(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new ParseError("it is not UTF-8", { cause });
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ParseError("it is not JSON", { cause });
  }
}

/** Names in the text of valid JSON: colons outside of strings. */
function countNames(text: string): number {
  let names = 0;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === COLON) names += 1;
    else if (code === QUOTE) at = endOfString(text, at);
  }
  return names;
}

const COLON = 0x3a;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Where the quote is that ends the string that begins at `start`. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); ; end = text.indexOf('"', end + 1)) {
    let escapes = 0;
    while (text.charCodeAt(end - 1 - escapes) === BACKSLASH) escapes += 1;
    if (escapes % 2 === 0) return end;
  }
}

/** Of all objects in the value. A name that was there twice is one key.
 * @throws ParseError when it is too deep */
function countKeys(value: unknown, depth: number): number {
  if (typeof value !== "object" || value === null) return 0;
  if (depth > DEPTH_MAX) throw new ParseError(`JSON nested deeper than ${DEPTH_MAX} levels`);
  let count = 0;
  if (Array.isArray(value)) {
    for (const item of value) count += countKeys(item, depth + 1);
    return count;
  }
  for (const item of Object.values(value)) count += 1 + countKeys(item, depth + 1);
  return count;
}

/** Finds the name that is there twice. `text` is valid JSON, so a scan for strings and brackets is enough: in an object,
 * a string followed by a colon is a name. @throws ParseError */
function refuseAmbiguity(text: string): void {
  const open: (Set<string> | undefined)[] = [];
  const token = /"(?:[^"\\]|\\.)*"|[{}[\]:]/g;
  let lastString = "";
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    const [lexeme] = match;
    switch (lexeme) {
      case "{":
      case "[":
        open.push(lexeme === "{" ? new Set() : undefined);
        break;
      case "}":
      case "]":
        open.pop();
        break;
      case ":":
        addName(open.at(-1), lastString);
        break;
      default:
        lastString = lexeme;
    }
  }
}

function addName(names: Set<string> | undefined, literal: string): void {
  // Unescaped, or "a" and "\u0061" would pass for two names.
  const name = literal.includes("\\") ? String(JSON.parse(literal)) : literal.slice(1, -1);
  if (names?.has(name) === true) {
    throw new ParseError(`the name ${literal.slice(0, 100)} is there twice`, {
      hint: "write every name once in an object: parsers disagree about which one counts",
    });
  }
  names?.add(name);
}
