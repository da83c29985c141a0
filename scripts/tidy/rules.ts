/** Rules about the text of the tree that neither the compiler nor the linter sees. Each is pure. */

/** A text file of the tree. `path` is relative to its root. */
export type SourceFile = { readonly path: string; readonly text: string };

/** All that a rule may know about the rest of the tree. */
export type Tree = { readonly exists: (path: string) => boolean };

export type Finding = {
  readonly path: string;
  readonly line: number;
  readonly rule: string;
  readonly message: string;
};

type Rule = {
  readonly name: string;
  readonly applies: RegExp;
  readonly find: (file: SourceFile, tree: Tree) => readonly LineFinding[];
};
type LineFinding = { readonly line: number; readonly message: string };

const LINES_MAX = 500;
const TEST_LINES_MAX = 400;

/** Words that a reader of the project cannot resolve: places and talk of one machine or one day. */
const privateWords = /\/work\/(main|shared)|\/tmp\/brief|\bbash_jobs\b|\bas an AI\b/i;
const unfinished = /\b(TODO|FIXME|XXX|HACK)\b/;
const sourceCode = /\.(ts|sh|mjs)$|^scripts\/[a-z]+$|^\.ci\/run$/;

const rules: readonly Rule[] = [
  {
    name: "file-length",
    applies: sourceCode,
    find: ({ path, text }) => {
      const max = path.endsWith(".test.ts") ? TEST_LINES_MAX : LINES_MAX;
      const lines = text.split("\n").length - 1;
      return lines <= max
        ? []
        : [{ line: max, message: `${lines} lines, at most ${max}: split it` }];
    },
  },
  {
    name: "file-name",
    applies: /\.ts$/,
    find: ({ path }) => {
      const name = path.slice(path.lastIndexOf("/") + 1);
      if (/^(utils?|helpers?|managers?|misc|common|types)\.ts$/.test(name)) {
        return [{ line: 1, message: `${name} says nothing: name the file for what it holds` }];
      }
      return /^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+)*\.ts$/.test(name)
        ? []
        : [{ line: 1, message: `${name} is not kebab-case` }];
    },
  },
  {
    name: "unfinished",
    applies: sourceCode,
    find: ({ text }) => onLines(text, unfinished, "finish it, or write it in docs/limits.md"),
  },
  {
    name: "disable-reason",
    applies: /\.ts$/,
    find: ({ text }) =>
      onLines(text, /oxlint-disable(?!.* -- \S)/, "say why after --, in the same comment"),
  },
  {
    name: "private-words",
    applies: /./,
    find: ({ text }) => onLines(text, privateWords, "means nothing outside one machine"),
  },
  {
    name: "dead-link",
    applies: /\.md$/,
    find: (file, tree) => findDeadLinks(file, tree),
  },
];

/** Where these words are the subject: the rules themselves and the violations that their tests plant. */
const seeds = /^(scripts\/tidy\/|tests\/repository\/)/;

/** Everything that is wrong in one file. */
export function tidyFile(file: SourceFile, tree: Tree): readonly Finding[] {
  if (seeds.test(file.path)) return [];
  return rules
    .filter(({ applies }) => applies.test(file.path))
    .flatMap(({ name, find }) =>
      find(file, tree).map((finding) => ({ path: file.path, rule: name, ...finding })),
    );
}

function onLines(text: string, pattern: RegExp, message: string): readonly LineFinding[] {
  return text
    .split("\n")
    .flatMap((content, index) => (pattern.test(content) ? [{ line: index + 1, message }] : []));
}

/** Links to files of the tree that do not exist, and to headings that the same file does not have. */
function findDeadLinks({ path, text }: SourceFile, tree: Tree): readonly LineFinding[] {
  const prose = text.replaceAll(/```[\s\S]*?```/g, (block) => block.replaceAll(/[^\n]/g, ""));
  const anchors = new Set(
    [...prose.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) => headingAnchor(heading)),
  );
  return prose.split("\n").flatMap((content, index) =>
    [...content.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target = ""]) => {
      if (/^[a-z]+:/.test(target)) return [];
      const [file = "", anchor] = target.split("#");
      const alive =
        file === ""
          ? anchor !== undefined && anchors.has(anchor)
          : tree.exists(resolveFrom(path, file));
      return alive ? [] : [{ line: index + 1, message: `${target} leads nowhere` }];
    }),
  );
}

/** The anchor that a forge gives to a heading. */
function headingAnchor(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{Letter}\p{Number} _-]/gu, "")
    .replaceAll(" ", "-");
}

function resolveFrom(path: string, target: string): string {
  const { pathname } = new URL(target, `file:///${path}`);
  return decodeURIComponent(pathname.slice(1)).replace(/\/$/, "");
}
