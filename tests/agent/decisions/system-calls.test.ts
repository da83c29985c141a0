import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { root } from "../../../scripts/root.ts";
import { assert, suite } from "../../support/suite.ts";

const headers = {
  x64: "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
  // That of all processors that came late, arm64 among them.
  arm64: "/usr/include/asm-generic/unistd.h",
} as const;
type Processor = keyof typeof headers;

/** Lists without names: what their numbers stand for, in their order. */
const lists: Readonly<Record<string, readonly string[]>> = {
  "layer/host-calls.ts": ["mknodat", "lsetxattr", "utimensat"],
  "image/inflate-apart.ts": ["prctl", "prlimit64"],
};
/** The same on all processors since 5.1. */
const constants = ["open_tree", "move_mount", "mount_setattr", "pidfd_open", "process_madvise"];

function readNumbers(processor: Processor): ReadonlyMap<string, number> {
  const text = readFileSync(headers[processor], "utf8");
  const found = text.matchAll(/^#define __NR(?:3264)?_(\w+) (\d+)$/gm);
  return new Map([...found].map(([, name = "", number]) => [name, Number(number)]));
}

type Used = { readonly file: string; readonly name: string; readonly number: number };

/** What the agent's scripts call, by the tables that they have for this processor. */
function listUsed(processor: Processor): readonly Used[] {
  const folder = join(root, "agent/src");
  return globSync("**/*.ts", { cwd: folder }).flatMap((file) => {
    const text = readFileSync(join(folder, file), "utf8");
    const [, table = ""] = new RegExp(`\\b${processor} => \\{([^}]*)\\}`).exec(text) ?? [];
    const named = [...table.matchAll(/(\w+) => (\d+)/g)].map(([, name = "", number]) => ({
      file,
      name,
      number: Number(number),
    }));
    const [, list = ""] = new RegExp(`\\b${processor}: \\[([\\d, ]+)\\]`).exec(text) ?? [];
    const unnamed = list.split(",").flatMap((number, index) => {
      const name = lists[file]?.[index];
      return name === undefined ? [] : [{ file, name, number: Number(number) }];
    });
    return [...named, ...unnamed, ...listConstants(file, text)];
  });
}

/** `my ($OPEN_TREE, $AT_FDCWD) = (428, -100);` */
function listConstants(file: string, text: string): readonly Used[] {
  return [...text.matchAll(/my \(((?:\$[A-Z_]+(?:, )?)+)\) = \(([^)]*)\)/g)].flatMap(
    ([, names = "", values = ""]) => {
      const numbers = values.split(", ").map(Number);
      return names.split(", ").flatMap((variable, index) => {
        const name = variable.slice(1).toLowerCase();
        return constants.includes(name) ? [{ file, name, number: numbers[index] ?? -1 }] : [];
      });
    },
  );
}

suite("numbers of system calls", (test) => {
  for (const processor of ["x64", "arm64"] as const) {
    test(`are the kernel's own on ${processor}`, () => {
      const numbers = readNumbers(processor);
      const used = listUsed(processor);
      const names = new Set(used.map(({ name }) => name));
      for (const name of ["mount", "unshare", "setns", "prctl", "mknodat", ...constants]) {
        assert.ok(names.has(name), `${name} was not found in the scripts`);
      }
      for (const { file, name, number } of used) {
        assert.is(number, numbers.get(name), `${name} in ${file}`);
      }
    });
  }
});
