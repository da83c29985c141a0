/** `cartridge.yaml`: what a cartridge is made of and how it runs. Field names are those of the API. */
import { Argv, Env } from "@strata/protocol/agent/messages";
import { HealthInput, LivenessInput, StartupInput } from "@strata/protocol/api/probes";
import { Name } from "@strata/protocol/names";
import { isRepository } from "@strata/protocol/oci/reference";
import { parseDocument } from "yaml";
import { z } from "zod";

import { CliError } from "../errors.ts";

const RECIPE_BYTES_MAX = 1024 * 1024;

/** An absolute path inside the cartridge, without `.`, `..` and empty components. */
const InnerPath = z
  .string()
  .max(4096)
  .refine(isInnerPath, "write an absolute path without . and ..");

function isInnerPath(text: string): boolean {
  const [root, ...names] = text.split("/");
  return (
    root === "" && names.every((name) => !["", ".", ".."].includes(name) && !name.includes("\0"))
  );
}

const owned = {
  /** Numeric `user:group`. */
  owner: z
    .string()
    .regex(/^\d{1,10}:\d{1,10}$/, "write numbers: 1000:1000")
    .default("0:0"),
  /** Octal. Left out, a file keeps the mode that it has here, and a folder gets 0755. */
  mode: z
    .string()
    .regex(/^[0-7]{3,4}$/, 'write it quoted and octal: "0755"')
    .optional(),
};

/** One line of `files`: something copied from here, a text, a link, or an empty folder. */
const FileStep = z.union(
  [
    z.strictObject({ to: InnerPath, from: z.string().min(1), ...owned }),
    z.strictObject({ to: InnerPath, text: z.string().max(RECIPE_BYTES_MAX), ...owned }),
    z.strictObject({ to: InnerPath, link: z.string().min(1).max(4096) }),
    z.strictObject({ to: InnerPath, ...owned }),
  ],
  "has `to`, at most one of from, text, link, and besides only owner and mode",
);
export type FileStep = z.infer<typeof FileStep>;

const DebianPackage = z
  .string()
  .regex(/^[a-z0-9][a-z0-9+.-]+$/, "not the name of a Debian package");

/** A root file system made of Debian packages and what they depend on, installed by their own scripts. */
const DebianBase = z.strictObject({
  packages: z.array(DebianPackage).max(1000),
  /** Left out: the release of the machine that builds. */
  suite: Name.optional(),
  /** `http://host/debian`. Left out: where the building machine has its packages from. */
  mirror: z.url({ protocol: /^https?$/ }).optional(),
});
export type DebianBase = z.infer<typeof DebianBase>;

const Base = z.union(
  [
    z.strictObject({ debian: DebianBase }),
    /** A folder, a tarball or an image for LXC, relative to the recipe. */
    z.strictObject({ rootfs: z.string().min(1) }),
  ],
  "write either debian: { packages: […] } or rootfs: PATH",
);

const ExposedPort = z
  .union([z.int(), z.string()])
  .transform(String)
  .pipe(z.string().regex(/^\d{1,5}(?:\/(?:tcp|udp))?$/, "write 8080 or 53/udp"))
  .transform((text) => (text.includes("/") ? text : `${text}/tcp`))
  .refine(
    (text) => Number.parseInt(text, 10) >= 1 && Number.parseInt(text, 10) <= 65535,
    "1 to 65535",
  );

const Recipe = z.strictObject({
  /** Repository in the store, unless the command line names another. */
  name: z.string().refine(isRepository, "lower-case letters, digits and separators"),
  description: z.string().max(1024).default(""),
  /** Left out: an empty root with the folders that every container needs. */
  base: Base.optional(),
  files: z.array(FileStep).max(10_000).default([]),
  /** Shell lines, run inside the root after `files` are in place, without a network. */
  run: z.array(z.string().min(1).max(65_536)).max(100).default([]),
  /** Entrypoint and Cmd of the image. */
  command: Argv.default([]),
  args: Argv.default([]),
  env: Env.default({}),
  user: z.string().max(256).default(""),
  workingDir: InnerPath.or(z.literal("/")).default("/"),
  ports: z.array(ExposedPort).max(64).default([]),
  health: HealthInput.optional(),
  startup: StartupInput.optional(),
  liveness: LivenessInput.optional(),
  stopSignal: z
    .string()
    .regex(/^SIG[A-Z0-9+-]+$/, "write it like SIGTERM")
    .default("SIGTERM"),
  labels: z.record(z.string().min(1).max(256), z.string().max(4096)).default({}),
});
export type Recipe = z.infer<typeof Recipe>;

/** The defaults of every field, for what is built without a recipe. */
export function recipeOf(name: string, fields: Partial<Recipe> = {}): Recipe {
  return { ...Recipe.parse({ name }), ...fields };
}

/** @throws CliError SOURCE_INVALID naming each wrong field. */
export function parseRecipe(text: string, file: string): Recipe {
  if (text.length > RECIPE_BYTES_MAX) throw new CliError("SOURCE_INVALID", `${file} is over 1 MiB`);
  const document = parseDocument(text, { uniqueKeys: true });
  const broken = document.errors[0];
  if (broken !== undefined) {
    throw new CliError("SOURCE_INVALID", `${file} is not YAML: ${broken.message}`, {
      cause: broken,
    });
  }
  const result = Recipe.safeParse(document.toJS({ maxAliasCount: 100 }));
  if (result.success) return result.data;
  const lines = result.error.issues.map(
    (issue) => `  ${issue.path.join(".") || "(top)"}: ${issue.message}`,
  );
  throw new CliError("SOURCE_INVALID", `${file} is not a cartridge\n${lines.join("\n")}`, {
    cause: result.error,
    hint: "docs/reference/cartridge.md lists every field",
  });
}
