/** What can stand where the cursor is. Pure but for `listNames`, which asks the controller. */
import type { CommandSpec, Completed, OptionSpec } from "../command.ts";
import { requireKind, kinds } from "../resources/kinds.ts";
import { shells } from "./scripts.ts";

export type CompletionSource = {
  readonly commands: readonly CommandSpec[];
  readonly globalOptions: readonly OptionSpec[];
  /** Names of the resources of one kind; none when it cannot be asked. */
  readonly listNames: (kind: string) => Promise<readonly string[]>;
};

/** `words` are all after `strata`; the last one is being typed and may be empty. */
export async function complete(
  words: readonly string[],
  source: CompletionSource,
): Promise<readonly string[]> {
  const typed = words.at(-1) ?? "";
  const before = words.slice(0, -1);
  const candidates = await candidatesFor(before, typed, source);
  return candidates.filter((candidate) => candidate.startsWith(typed));
}

async function candidatesFor(
  before: readonly string[],
  typed: string,
  source: CompletionSource,
): Promise<readonly string[]> {
  const { spec, args } = findCommand(before, source.commands);
  if (typed.startsWith("-")) return optionsOf(spec, source);
  if (spec === undefined) return namesOf(source.commands);
  if ("children" in spec) return args.length === 0 ? namesOf(spec.children) : [];
  const completes = spec.completes ?? [];
  const what = completes[Math.min(args.length, completes.length - 1)];
  return what === undefined ? [] : valuesOf(what, args, source);
}

type Found = { readonly spec: CommandSpec | undefined; readonly args: readonly string[] };

/** Options are passed over; their values are taken for arguments, which costs a suggestion at worst. */
function findCommand(words: readonly string[], commands: readonly CommandSpec[]): Found {
  const [name, ...rest] = words.filter((word) => !word.startsWith("-"));
  const spec = commands.find((command) => nameOf(command) === name);
  if (spec === undefined || !("children" in spec) || rest.length === 0) return { spec, args: rest };
  const child = findCommand(rest, spec.children);
  return child.spec === undefined ? { spec, args: rest } : child;
}

async function valuesOf(
  what: Completed,
  args: readonly string[],
  { listNames }: CompletionSource,
): Promise<readonly string[]> {
  switch (what) {
    case "kind":
      return kinds.flatMap((kind) => kind.names.slice(0, 1));
    case "name":
      return listNames(requireKind(args[0] ?? "").names[0] ?? "");
    case "alias":
      return listNames("subscriptions");
    case "process":
      return [...(await listNames("subscriptions")), ...(await listNames("processes"))];
    case "node":
      return listNames("nodes");
    case "partition":
      return listNames("partitions");
    case "shell":
      return shells;
    case "path":
      return [];
    default:
      return what satisfies never;
  }
}

function optionsOf(spec: CommandSpec | undefined, source: CompletionSource): readonly string[] {
  const own = spec?.options ?? [];
  const all = spec !== undefined && "children" in spec ? own : [...own, ...source.globalOptions];
  return ["--help", ...all.flatMap(({ flags }) => flags.match(/--[a-z-]+/) ?? [])];
}

function namesOf(commands: readonly CommandSpec[]): readonly string[] {
  return commands.filter((command) => command.isHidden !== true).map(nameOf);
}

function nameOf({ syntax }: CommandSpec): string {
  return syntax.split(" ")[0] ?? "";
}
