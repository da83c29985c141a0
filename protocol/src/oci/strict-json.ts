import { ParseError } from "../coded-error.ts";

/** Deeper than any manifest, and far from any parser's limit. */
const DEPTH_MAX = 64;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Parses JSON that all parsers read alike: UTF-8, no byte order mark, no name twice in one object, bounded depth.
 * @throws ParseError */
export function parseStrictJson(bytes: Uint8Array): unknown {
  const text = decode(bytes);
  const value = parse(text);
  refuseAmbiguity(text);
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

/** `text` is valid JSON, so a scan for strings and brackets is enough: in an object, a string followed by a colon
 * is a name. */
function refuseAmbiguity(text: string): void {
  const open: (Set<string> | undefined)[] = [];
  const token = /"(?:[^"\\]|\\.)*"|[{}[\]:]/g;
  let lastString = "";
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    const [lexeme] = match;
    switch (lexeme) {
      case "{":
      case "[":
        if (open.length >= DEPTH_MAX) {
          throw new ParseError(`JSON nested deeper than ${DEPTH_MAX} levels`);
        }
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
