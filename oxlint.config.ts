import { defineConfig, type DummyRuleMap } from "oxlint";

/** One forbidden kind of import, and what to do instead. */
type Ban = {
  readonly regex: string;
  readonly message: string;
  readonly allowTypeImports?: boolean;
};

const ban = (regex: string, message: string): Ban => ({ regex, message });

/** Holds everywhere. A package is reached by its name, so that an undeclared one does not resolve. */
const everywhere: readonly Ban[] = [
  ban(
    "^(\\.\\./)+(protocol|registry|controller|agent|cli|console)/src/",
    "import another package by its name: @strata/x/y",
  ),
  ban("^uvu", "import tests/support/suite.ts: uvu alone passes a suite that was never run"),
];

const productCode: readonly Ban[] = [
  ...everywhere,
  ban("^@strata/(tests|scripts)", "product code does not import tests or scripts"),
  ban("^(\\.\\./){2,}(tests|scripts)/", "product code does not import tests or scripts"),
];

/** Which packages a package may not import: protocol ← registry ← controller; protocol ← agent, cli. */
const forbiddenPackages: Readonly<Record<string, string>> = {
  protocol: "registry|controller|agent|cli",
  registry: "controller|agent|cli",
  controller: "agent|cli",
  agent: "registry|controller|cli",
  cli: "registry|agent", // And see simulatorOnly.
};

/** Inside the controller, lowest first; each may import only what stands before it. Layers in one row do not know each
 * other. */
const controllerLayers: readonly (readonly string[])[] = [
  ["domain"],
  ["store", "history", "providers", "pki", "images", "streams"],
  ["access"],
  ["operations"],
  ["backup"],
  ["loops"],
  ["http"],
  ["core", "ticks", "controller", "main"],
];

/** All layers of its own row and above, as a part of a regular expression. */
function forbiddenLayers(layer: string): string {
  const row = controllerLayers.findIndex((names) => names.includes(layer));
  return controllerLayers
    .slice(row)
    .flat()
    .filter((name) => name !== layer)
    .join("|");
}

/** Of the controller the command line may use the simulator, which is pure and runs without a controller. There is no
 * look-ahead here, so: all that does not begin like its folder. */
const simulatorOnly = ban(
  "^@strata/controller/([^d]|d[^o]|domain/([^s]|s[^i]))",
  "of the controller cli may import domain/simulate alone",
);

const packageBans = (name: string): readonly Ban[] => [
  ...productCode,
  ban(`^@strata/(${forbiddenPackages[name]})/`, `${name} may not import this package`),
  ...(name === "cli" ? [simulatorOnly] : []),
];

const sqlBan = ban(
  "^(better-sqlite3|drizzle-orm)(/|$)",
  "SQL lives in controller/src/store, controller/src/history and registry/src/drivers alone",
);

const layerBans = (layer: string): readonly Ban[] => [
  ...packageBans("controller"),
  ban(
    `^(\\.\\./)+(${forbiddenLayers(layer)})(/|\\.ts$)`,
    `controller/${layer} may not import this layer`,
  ),
  ...(layer === "store" || layer === "history" ? [] : [sqlBan]),
];

const domainBans: readonly Ban[] = [
  ...layerBans("domain"),
  ban("^(\\.\\./)+config\\.ts$", "the domain is given what it needs"),
  ban("^node:", "the domain is pure: no clock, no randomness, no input or output"),
  ban(
    "^(hono|@hono|undici|pino)",
    "the domain is pure: no clock, no randomness, no input or output",
  ),
];

/** Where product code may start other programs. */
const spawners: readonly string[] = [
  "agent/src/host/**", // The one runner of lxc, nft, ip and perl.
  "agent/src/self-exec.ts", // Starts this same program as its unpacker.
  "controller/src/providers/run-program.ts", // Programs of providers, QEMU and its tools, each with limits.
  "cli/src/cartridge/**", // Installs Debian packages into a root file system.
];

/** The one helper of each package that deletes a tree. */
const recursiveDeleters: readonly string[] = [
  "*/src/remove-tree.ts",
  "*/src/**/remove-tree.ts",
  "scripts/remove-tree.ts",
  "tests/support/temporary.ts",
];

const imports = (patterns: readonly Ban[]): DummyRuleMap => ({
  "no-restricted-imports": ["error", { patterns: [...patterns] }],
});

/** Only a main.ts (and the tools) read the clock, randomness and the environment; others are given them. */
const ambient: DummyRuleMap = {
  "no-restricted-properties": [
    "error",
    { object: "process", property: "env", message: "main.ts reads the environment" },
    { object: "Date", property: "now", message: "take a clock from the caller" },
    { object: "Math", property: "random", message: "take randomness from the caller" },
    { object: "crypto", property: "randomUUID", message: "take ids from the caller" },
  ],
};

export default defineConfig({
  plugins: ["typescript", "unicorn", "oxc", "import", "promise", "node"],
  jsPlugins: ["./scripts/lint/plugin.ts"],
  categories: { correctness: "error", suspicious: "error" },
  options: { typeAware: true, denyWarnings: true, reportUnusedDisableDirectives: "error" },
  ignorePatterns: ["**/node_modules", ".tools", "dist", "**/migrations/**"],
  rules: {
    // Types and promises.
    "typescript/no-explicit-any": "error",
    "typescript/no-non-null-assertion": "error",
    "typescript/no-floating-promises": "error",
    "typescript/no-misused-promises": "error",
    "typescript/await-thenable": "error",
    "typescript/only-throw-error": "error",
    "typescript/return-await": ["error", "error-handling-correctness-only"],
    "typescript/switch-exhaustiveness-check": [
      "error",
      { considerDefaultExhaustiveForUnions: true },
    ],
    "typescript/explicit-function-return-type": [
      "error",
      { allowExpressions: true, allowTypedFunctionExpressions: true },
    ],
    "typescript/explicit-module-boundary-types": "off", // The rule above asks for more.
    "typescript/consistent-type-imports": "error",
    "typescript/no-unnecessary-type-assertion": "error",
    "typescript/no-deprecated": "error",
    "typescript/ban-ts-comment": "error",
    "typescript/no-unsafe-type-assertion": "off", // See strata/cast-in-parse.
    "typescript/consistent-return": "off", // noImplicitReturns says it, and knows `never`.
    // Shape.
    "max-lines": ["error", { max: 500 }],
    "max-lines-per-function": ["error", { max: 70, skipBlankLines: true, skipComments: true }],
    "max-params": ["error", { max: 3 }],
    "max-depth": ["error", { max: 4 }],
    "import/no-default-export": "error",
    "import/no-cycle": "error",
    "no-console": "error",
    "no-eval": "error",
    "no-var": "error",
    "prefer-const": "error",
    eqeqeq: "error",
    "no-shadow": "off", // A narrowed copy of the same name is often the clearest name.
    "no-underscore-dangle": "off",
    "unicorn/consistent-function-scoping": "off", // A closure beside its use reads better.
    "unicorn/no-array-sort": "off",
    "unicorn/prefer-node-protocol": "error",
    "import/no-unassigned-import": "off",
    "import/no-named-as-default-member": "off",
    "import/no-named-as-default": "off",
    "promise/always-return": "off",
    "unicorn/no-process-exit": "off",
    "strata/no-barrel": "error",
    "strata/no-recursive-delete": "error",
    ...imports(everywhere),
  },
  overrides: [
    {
      files: ["*/src/**/*.ts"],
      rules: { "strata/cast-in-parse": "error", "strata/no-spawn": "error" },
    },
    { files: [...spawners], rules: { "strata/no-spawn": "off" } },
    { files: [...recursiveDeleters], rules: { "strata/no-recursive-delete": "off" } },
    ...Object.keys(forbiddenPackages).map((name) => ({
      files: [`${name}/src/**/*.ts`],
      rules: imports(packageBans(name)),
    })),
    ...["protocol", "registry", "controller", "agent"].map((name) => ({
      files: [`${name}/src/**/*.ts`],
      excludeFiles: [`${name}/src/main.ts`],
      rules: ambient,
    })),
    {
      files: ["controller/src/*.ts"],
      rules: imports([...packageBans("controller"), sqlBan]),
    },
    ...controllerLayers.flat().map((layer) => ({
      files: [`controller/src/${layer}/**/*.ts`],
      rules: imports(layerBans(layer)),
    })),
    { files: ["controller/src/domain/**/*.ts"], rules: imports(domainBans) },
    {
      files: ["cli/src/**/*.ts", "scripts/**/*.ts", "tests/**/*.ts"],
      rules: { "no-console": "off" },
    },
    {
      // A test file is one long call; its size is limited by max-lines.
      files: ["tests/**/*.ts"],
      rules: {
        "max-lines-per-function": "off",
        "typescript/explicit-function-return-type": "off",
        "typescript/no-non-null-assertion": "error",
      },
    },
    { files: ["tests/support/suite.ts"], rules: imports([]) },
    {
      files: ["*.config.ts", "*/*.config.ts", "scripts/lint/plugin.ts"],
      rules: {
        "import/no-default-export": "off",
        "typescript/explicit-function-return-type": "off",
      },
    },
  ],
});
