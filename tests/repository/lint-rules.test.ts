import { assert, suite } from "../support/suite.ts";
import { aSeededTree } from "./seeded-tree.ts";

/** Where a violation is planted, its text, and the rule that must see it. */
type Seed = { readonly path: string; readonly text: string; readonly rule: string };

const imports = "no-restricted-imports";
const seedImport = (path: string, name: string): Seed => ({
  path,
  text: `import { x } from "${name}";\nexport const y = x;\n`,
  rule: imports,
});

const layerSeeds: readonly Seed[] = [
  seedImport("protocol/src/a.ts", "@strata/registry/create-registry"),
  seedImport("protocol/src/b.ts", "@strata/agent/session"),
  seedImport("registry/src/a.ts", "@strata/controller/main"),
  seedImport("controller/src/a.ts", "@strata/cli/main"),
  seedImport("controller/src/b.ts", "@strata/agent/session"),
  seedImport("agent/src/a.ts", "@strata/registry/blob-store"),
  seedImport("agent/src/b.ts", "@strata/controller/config"),
  seedImport("cli/src/a.ts", "@strata/controller/config"),
  seedImport("cli/src/c.ts", "@strata/controller/store/nodes"),
  seedImport("cli/src/d.ts", "@strata/controller/domain/plan"),
  seedImport("agent/src/e.ts", "@strata/controller/domain/simulate/simulate"),
  seedImport("cli/src/b.ts", "../../protocol/src/units.ts"),
  seedImport("agent/src/c.ts", "@strata/tests/support"),
  seedImport("agent/src/d.ts", "../../scripts/root.ts"),
  seedImport("controller/src/domain/a.ts", "../store/nodes.ts"),
  seedImport("controller/src/domain/b.ts", "../http/app.ts"),
  seedImport("controller/src/domain/c.ts", "node:fs"),
  seedImport("controller/src/domain/d.ts", "../config.ts"),
  seedImport("controller/src/store/a.ts", "../loops/reconcile.ts"),
  seedImport("controller/src/store/b.ts", "../http/app.ts"),
  seedImport("controller/src/providers/a.ts", "../store/nodes.ts"),
  seedImport("controller/src/pki/a.ts", "../streams/rendezvous.ts"),
  seedImport("controller/src/access/a.ts", "../operations/join.ts"),
  seedImport("controller/src/operations/a.ts", "../loops/reconcile.ts"),
  seedImport("controller/src/loops/a.ts", "../http/app.ts"),
  seedImport("controller/src/http/a.ts", "../main.ts"),
  seedImport("controller/src/http/b.ts", "drizzle-orm"),
  seedImport("controller/src/c.ts", "better-sqlite3"),
  seedImport("tests/x/a.test.ts", "uvu"),
  seedImport("tests/x/b.test.ts", "uvu/assert"),
];

const codeSeeds: readonly Seed[] = [
  {
    path: "agent/src/any.ts",
    text: "export const f = (x: any): void => void x;\n",
    rule: "no-explicit-any",
  },
  {
    path: "agent/src/bang.ts",
    text: "export const f = (x: string[]): string => x[0]!;\n",
    rule: "no-non-null-assertion",
  },
  {
    path: "agent/src/floating.ts",
    text: "const wait = async (): Promise<void> => {};\nexport function f(): void {\n  wait();\n}\n",
    rule: "no-floating-promises",
  },
  {
    path: "agent/src/misused.ts",
    text: "export function f(x: Promise<boolean>): number {\n  return x ? 1 : 2;\n}\n",
    rule: "no-misused-promises",
  },
  {
    path: "agent/src/await.ts",
    text: "export async function f(x: number): Promise<number> {\n  return (await x) + 1;\n}\n",
    rule: "await-thenable",
  },
  {
    path: "agent/src/switch.ts",
    text: 'export function f(x: "a" | "b"): void {\n  switch (x) {\n    case "a":\n      break;\n  }\n}\n',
    rule: "switch-exhaustiveness-check",
  },
  {
    path: "agent/src/return-type.ts",
    text: "export function f() {\n  return 1;\n}\n",
    rule: "explicit-function-return-type",
  },
  { path: "agent/src/default.ts", text: "export default 1;\n", rule: "no-default-export" },
  {
    path: "agent/src/params.ts",
    text: "export function f(a: 1, b: 2, c: 3, d: 4): number {\n  return a + b + c + d;\n}\n",
    rule: "max-params",
  },
  {
    path: "agent/src/long-function.ts",
    text: `export function f(): void {\n${"  void 0;\n".repeat(71)}}\n`,
    rule: "max-lines-per-function",
  },
  {
    path: "controller/src/console.ts",
    text: 'console.log("x");\nexport const x = 1;\n',
    rule: "no-console",
  },
  {
    path: "controller/src/environment.ts",
    text: 'export const x = process.env["X"];\n',
    rule: "no-restricted-properties",
  },
  {
    path: "registry/src/clock.ts",
    text: "export const x = Date.now();\n",
    rule: "no-restricted-properties",
  },
  {
    path: "controller/src/random.ts",
    text: "export const x = Math.random();\n",
    rule: "no-restricted-properties",
  },
  {
    path: "agent/src/cast.ts",
    text: "export const f = (x: unknown): string => x as string;\n",
    rule: "cast-in-parse",
  },
  { path: "agent/src/barrel.ts", text: 'export * from "./cast.ts";\n', rule: "no-barrel" },
  {
    path: "agent/src/delete.ts",
    text: 'import { rmSync } from "node:fs";\nrmSync("/x", { recursive: true });\nexport const x = 1;\n',
    rule: "no-recursive-delete",
  },
  {
    path: "controller/src/spawn.ts",
    text: 'import { spawn } from "node:child_process";\nexport const x = spawn;\n',
    rule: "no-spawn",
  },
];

/** Look like violations and are none: a rule that fires on everything proves nothing. */
const innocent: Readonly<Record<string, string>> = {
  "controller/src/store/fine.ts": seedImport("", "drizzle-orm").text,
  "controller/src/http/fine.ts": seedImport("", "../store/nodes.ts").text,
  "registry/src/fine.ts": seedImport("", "@strata/protocol/names").text,
  "cli/src/fine.ts": seedImport("", "@strata/controller/domain/simulate/simulate").text,
  "agent/src/parse-fine.ts": "export const parseX = (x: unknown): string => x as string;\n",
  "agent/src/main.ts": "export const x = Date.now();\n",
  "agent/src/host/fine.ts":
    'import { spawn } from "node:child_process";\nexport const x = spawn;\n',
  "agent/src/remove-tree.ts":
    'import { rmSync } from "node:fs";\nrmSync("/x", { recursive: true });\nexport const x = 1;\n',
};

suite("lint rules", (test) => {
  test("each seeded violation is found by its rule, and nothing innocent is", async () => {
    const seeds = [...layerSeeds, ...codeSeeds];
    const planted = Object.fromEntries(seeds.map(({ path, text }) => [path, text]));
    await using tree = aSeededTree({ ...planted, ...innocent });
    const output = await tree.run("oxlint", "--format", "unix");

    const missed = seeds.filter(
      ({ path, rule }) =>
        !output
          .split("\n")
          .some((line) => line.startsWith(`${path}:`) && line.includes(`(${rule})`)),
    );
    assert.equal(missed, [], output);
    for (const path of Object.keys(innocent)) assert.not.match(output, `${path}:`);
  });

  test("code that type stripping cannot run does not compile", async () => {
    await using tree = aSeededTree({
      "agent/src/enum.ts": "export enum Color {\n  red,\n}\n",
      "agent/src/property.ts": "export class X {\n  constructor(readonly y: number) {}\n}\n",
      "agent/src/extension.ts": 'import { x } from "./missing.js";\nexport const y = x;\n',
      "agent/src/index.ts": "export const f = (x: string[]): string => x[0];\n",
      "agent/src/optional.ts": "export const x: { y?: number } = { y: undefined };\n",
    });
    const output = await tree.run("tsc", "--pretty", "false", "-p", ".");
    for (const name of ["enum", "property", "extension", "index", "optional"]) {
      assert.match(output, `agent/src/${name}.ts`);
    }
  });

  test("an unformatted file is named", async () => {
    await using tree = aSeededTree({ "agent/src/a.ts": "export const x = {y:1}\n" });
    assert.match(await tree.run("oxfmt", "--list-different", "agent"), "agent/src/a.ts");
  });

  test("an export that nobody uses and a dependency that nobody imports are named", async () => {
    await using tree = aSeededTree({
      "cli/package.json": JSON.stringify({
        name: "@strata/cli",
        type: "module",
        exports: { "./*": "./src/*.ts" },
        bin: { strata: "./src/main.ts" },
        dependencies: { undici: "catalog:" },
      }),
      "cli/src/main.ts": 'import { used } from "./used.ts";\nconsole.log(used);\n',
      "cli/src/used.ts": "export const used = 1;\nexport const forgotten = 2;\n",
    });
    const output = await tree.run("knip", "--no-progress");
    assert.match(output, "forgotten");
    assert.match(output, "undici");
  });
});
