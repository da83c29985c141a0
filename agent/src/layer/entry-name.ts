/** Names of entries: from the bytes of an archive to components that are safe to walk. Pure. */
import { overLimit, refused, showName } from "./errors.ts";
import type { LayerLimits } from "./limits.ts";

export type NameLimits = Pick<LayerLimits, "pathBytesMax" | "depthMax">;

/** The kernel's NAME_MAX. */
const COMPONENT_BYTES_MAX = 255;

/** Components from the layer's root; none for the root itself. Absolute names are relative to the root.
 * @throws LayerError for `..`, an empty name, and what the kernel cannot hold */
export function splitName(name: string, limits: NameLimits): readonly string[] {
  if (name === "") throw refused(name, "the name is empty");
  if (name.includes("\0")) throw refused(name, "the name contains NUL");
  if (name.length > limits.pathBytesMax) {
    throw overLimit(
      `entry ${showName(name)}: the name has ${name.length} bytes, over ${limits.pathBytesMax}`,
    );
  }
  const components: string[] = [];
  for (const component of name.split("/")) {
    if (component === "" || component === ".") continue;
    if (component === "..") throw refused(name, "the name contains `..`");
    if (component.length > COMPONENT_BYTES_MAX) {
      throw overLimit(
        `entry ${showName(name)}: a component has ${component.length} bytes, over ${COMPONENT_BYTES_MAX}`,
      );
    }
    components.push(component);
  }
  if (components.length > limits.depthMax) {
    throw overLimit(
      `entry ${showName(name)}: ${components.length} components, over ${limits.depthMax}`,
    );
  }
  return components;
}

/** What image-spec v1.1, "Whiteouts", makes of a name. */
export type WhiteoutMeaning =
  | { readonly kind: "none" }
  /** The directory shows nothing of the layers below. */
  | { readonly kind: "opaque" }
  /** `name` of the layers below is gone. */
  | { readonly kind: "whiteout"; readonly name: string }
  /** Book-keeping of AUFS that old builders left in: it has no meaning. */
  | { readonly kind: "ignored" };

const PREFIX = ".wh.";
const META_PREFIX = ".wh..wh.";
const none: WhiteoutMeaning = { kind: "none" };

/** @throws LayerError LAYER_REFUSED for whiteouts of nothing, of `.` and of `..`, and below a whiteout */
export function whiteoutMeaning(components: readonly string[], name: string): WhiteoutMeaning {
  const last = components.length - 1;
  const first = components.findIndex((component) => component.startsWith(PREFIX));
  if (first < 0) return none;
  const component = components[first] ?? "";
  if (first === last && component === `${META_PREFIX}.opq`) return { kind: "opaque" };
  if (component.startsWith(META_PREFIX)) return { kind: "ignored" };
  if (first < last) throw refused(name, "names that begin with `.wh.` are reserved for whiteouts");
  const hidden = component.slice(PREFIX.length);
  if (hidden === "" || hidden === "." || hidden === "..")
    throw refused(name, "a whiteout of nothing");
  return { kind: "whiteout", name: hidden };
}
