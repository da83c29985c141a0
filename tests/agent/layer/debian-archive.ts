import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** `/bin` and its like are links into these, so these come first. */
const merged = ["usr", "usr/bin", "usr/lib", "usr/lib64", "usr/sbin"];
/** Essential packages with setuid programs, hard links, links to links and thousands of files. */
const packages = ["coreutils", "passwd", "util-linux", "tzdata", "libc-bin"];

/** An archive of what Debian installed of these packages here, with a capability and a name that is not UTF-8 on top;
 * gives its path, in `folder`. */
export function makeDebianArchive(folder: string): string {
  const listed = execFileSync("dpkg", ["-L", ...packages], { encoding: "utf8" }).split("\n");
  const present = listed
    .filter((path) => path.startsWith("/") && path !== "/.")
    .map((path) => path.slice(1));
  const list = join(folder, "files");
  writeFileSync(list, [...new Set([...merged, ...present.toSorted()])].join("\n"));
  const layer = join(folder, "layer.tar");
  const options = [
    "--format=pax",
    "--xattrs",
    "--numeric-owner",
    "--ignore-failed-read",
    "--no-recursion",
  ];
  execFileSync("tar", [...options, "-C", "/", "-cf", layer, "-T", list], { stdio: "ignore" });
  const extra = join(folder, "extra");
  mkdirSync(extra);
  writeFileSync(Buffer.from(`${extra}/odd-\xff\xfe`, "latin1"), "odd");
  writeFileSync(join(extra, "capable"), "program", { mode: 0o755 });
  execFileSync("setcap", ["cap_net_bind_service+ep", join(extra, "capable")]);
  execFileSync("tar", [
    "--format=pax",
    "--xattrs",
    "--xattrs-include=*",
    "-C",
    extra,
    "-rf",
    layer,
    ".",
  ]);
  return layer;
}
