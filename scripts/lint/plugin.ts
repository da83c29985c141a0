/** Rules of this project that no rule of oxlint expresses. Loaded by oxlint.config.ts, which says where each
 * one holds; each has a seeded violation in tests/repository. The nodes are ESTree's, told by their `type`. */

type Node = { readonly type: string; readonly parent?: Node; readonly [key: string]: unknown };
type Context = { readonly report: (finding: { node: Node; message: string }) => void };
type Rule = { readonly create: (context: Context) => Record<string, (node: Node) => void> };

/** A cast overrules the compiler, so it stands where untrusted text becomes a type: in a `parse…`. */
const castInParse: Rule = {
  create: (context) => ({
    TSAsExpression: (node) => {
      if (isConstAssertion(node) || isInsideParse(node)) return;
      context.report({ node, message: "cast only inside parse…; narrow with a guard or a schema" });
    },
  }),
};

/** A barrel hides where a name lives and loads what nobody asked for. */
const noBarrel: Rule = {
  create: (context) => ({
    ExportAllDeclaration: (node) => {
      context.report({ node, message: "no barrels: import from the file that has the name" });
    },
  }),
};

/** One wrong variable in a recursive delete removes a host's files; the helper that is allowed checks its argument. */
const noRecursiveDelete: Rule = {
  create: (context) => ({
    CallExpression: (node) => {
      if (!/^(rm|rmSync|rmdir|rmdirSync)$/.test(calledName(node))) return;
      if (!childNodes(node["arguments"]).some(hasRecursiveOption)) return;
      context.report({ node, message: "delete recursively by this package's one helper only" });
    },
  }),
};

/** Starting other programs as root is what an attacker wants; few files may do it. */
const noSpawn: Rule = {
  create: (context) => ({
    ImportDeclaration: (node) => {
      if (node["importKind"] === "type" || stringValue(node["source"]) !== "node:child_process")
        return;
      context.report({ node, message: "this folder may not start programs; see oxlint.config.ts" });
    },
  }),
};

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "type" in value;
}

function childNodes(value: unknown): readonly Node[] {
  return Array.isArray(value) ? value.filter(isNode) : [];
}

function nameOf(value: unknown): string {
  return isNode(value) && typeof value["name"] === "string" ? value["name"] : "";
}

function stringValue(value: unknown): string {
  return isNode(value) && typeof value["value"] === "string" ? value["value"] : "";
}

function isConstAssertion(node: Node): boolean {
  const annotation = node["typeAnnotation"];
  return isNode(annotation) && nameOf(annotation["typeName"]) === "const";
}

function isInsideParse(node: Node): boolean {
  for (let at: Node | undefined = node.parent; at !== undefined && at !== null; at = at.parent) {
    if (/^parse([A-Z]|$)/.test(nameOf(at["id"]) || nameOf(at["key"]))) return true;
  }
  return false;
}

function calledName(node: Node): string {
  const callee = node["callee"];
  if (!isNode(callee)) return "";
  return callee.type === "MemberExpression" ? nameOf(callee["property"]) : nameOf(callee);
}

function hasRecursiveOption(argument: Node): boolean {
  return childNodes(argument["properties"]).some(
    (property) => nameOf(property["key"]) === "recursive",
  );
}

export default {
  meta: { name: "strata" },
  rules: {
    "cast-in-parse": castInParse,
    "no-barrel": noBarrel,
    "no-recursive-delete": noRecursiveDelete,
    "no-spawn": noSpawn,
  },
};
