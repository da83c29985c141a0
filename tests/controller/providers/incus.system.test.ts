import { havePrograms, imagePrograms, lxdPrograms } from "./programs.ts";

// Imported late: what it imports starts lxd at once.
if (havePrograms("the incus provider", [...lxdPrograms, ...imagePrograms])) {
  await import("./incus-on-lxd.ts");
}
