import { execFile } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

import { ExecResult } from "@strata/protocol/api/resources";

import {
  aRunningInstance,
  mustBecome,
  pageOf,
  type RunningInstance,
  urlOf,
  strata as runStrata,
} from "../support/running-instance.ts";
import { assert, suite } from "../support/suite.ts";

const run = promisify(execFile);

/** A root file system with one program and one page, and what starts it. */
function writeRootfs(folder: string, page: string): void {
  mkdirSync(join(folder, "bin"), { recursive: true });
  mkdirSync(join(folder, "www"));
  copyFileSync("/bin/busybox", join(folder, "bin/busybox"));
  symlinkSync("busybox", join(folder, "bin/sh"));
  writeFileSync(join(folder, "www/index.html"), page);
}

/** Subscribes to the image and gives the page that its one process serves. */
async function pageOfImage(strata: RunningInstance, name: string): Promise<string> {
  const cartridge = { image: `${name}:1`, partition: "local" };
  await strata.mustCall("PUT", `/v1/cartridges/${name}`, cartridge);
  await strata.mustCall("PUT", `/v1/subscriptions/${name}`, { cartridge: name });
  const [one] = await strata.readyProcesses(name, 1);
  return pageOf(urlOf(one));
}

type Build = { readonly context: string; readonly name: string; readonly format: "oci" | "docker" };

/** By buildah, with storage of its own. */
async function buildAndPush(
  { instance, scratch }: RunningInstance,
  { context, name, format }: Build,
): Promise<void> {
  const storage = ["--root", join(scratch, "root"), "--runroot", join(scratch, "run")];
  const buildah = (...args: readonly string[]): Promise<unknown> =>
    run("buildah", [...storage, "--storage-driver", "vfs", ...args]);
  await buildah("bud", "--isolation", "chroot", "--format", format, "-t", name, context);
  const token = readFileSync(join(instance.data, "admin-token"), "utf8").trim();
  const target = `docker://${new URL(instance.url).host}/${name}:1`;
  await buildah("push", "--tls-verify=false", "--creds", `admin:${token}`, name, target);
}

suite("an image that others made", (test) => {
  test(
    "by buildah runs like one of ours, with its user, folder, port and environment",
    async () => {
      await using strata = await aRunningInstance();
      const context = join(strata.scratch, "context");
      writeRootfs(join(context, "rootfs"), "made by buildah\n");
      writeFileSync(
        join(context, "Containerfile"),
        [
          "FROM scratch",
          "COPY rootfs /",
          "USER 1234:1234",
          "WORKDIR /www",
          "ENV PORT=9090",
          "EXPOSE 9090",
          'CMD ["/bin/sh", "-c", "exec /bin/busybox httpd -f -p $PORT -h ."]',
        ].join("\n"),
      );
      await buildAndPush(strata, { context, name: "foreign", format: "oci" });

      assert.is(await pageOfImage(strata, "foreign"), "made by buildah\n");
      const [one] = await strata.processes("foreign");
      const command = ["/bin/busybox", "id", "-u"];
      const answer = await strata.mustCall("POST", `/v1/processes/${one?.id ?? ""}/exec`, {
        command,
      });
      assert.is(ExecResult.parse(answer).stdout, "1234\n");
    },
    { timeoutMs: 180_000 },
  );

  test(
    "with a HEALTHCHECK is ready when that says so, and not before",
    async () => {
      await using strata = await aRunningInstance();
      const context = join(strata.scratch, "context");
      writeRootfs(join(context, "rootfs"), "checked\n");
      writeFileSync(
        join(context, "Containerfile"),
        [
          "FROM scratch",
          "COPY rootfs /",
          "EXPOSE 9090",
          "HEALTHCHECK --interval=1s --timeout=30s --retries=1 CMD /bin/busybox cat /well",
          'CMD ["/bin/busybox", "httpd", "-f", "-p", "9090", "-h", "/www"]',
        ].join("\n"),
      );
      await buildAndPush(strata, { context, name: "checked", format: "docker" });
      const cartridge = { image: "checked:1", partition: "local" };
      await strata.mustCall("PUT", "/v1/cartridges/checked", cartridge);
      await strata.mustCall("PUT", "/v1/subscriptions/checked", { cartridge: "checked" });
      const unready = await mustBecome("it says why it is not ready", async () => {
        const [one] = await strata.processes("checked");
        return one?.reason?.code === "NOT_READY" ? one : undefined;
      });
      assert.equal([unready.state, unready.ready], ["running", false]);
      assert.match(unready.reason?.message ?? "", /ended with 1: .*\/well/);
      await strata.mustCall("POST", `/v1/processes/${unready.id}/exec`, {
        command: ["/bin/busybox", "touch", "/well"],
      });
      const [ready] = await strata.readyProcesses("checked", 1);
      assert.equal([ready?.id, ready?.reason, ready?.restarts], [unready.id, null, 0]);
      assert.is(await pageOf(urlOf(ready)), "checked\n");
    },
    { timeoutMs: 180_000 },
  );

  test(
    "for LXC, a root file system in a tarball, runs as well",
    async () => {
      await using strata = await aRunningInstance();
      const { instance, scratch } = strata;
      const rootfs = join(scratch, "rootfs");
      writeRootfs(rootfs, "made for lxc\n");
      mkdirSync(join(rootfs, "sbin"));
      writeFileSync(
        join(rootfs, "sbin/init"),
        "#!/bin/sh\nexec /bin/busybox httpd -f -p 8080 -h /www\n",
        { mode: 0o755 },
      );
      const image = join(scratch, "image");
      mkdirSync(image);
      await run("tar", ["-C", rootfs, "-cJf", join(image, "rootfs.tar.xz"), "."]);
      writeFileSync(
        join(image, "metadata.yaml"),
        "architecture: x86_64\ncreation_date: 1700000000\nproperties:\n  description: one page\n",
      );
      await runStrata(instance, "cartridge", "build", image, "--push", "-t", "lxc:1");
      await strata.mustCall("PUT", "/v1/cartridges/lxc", {
        image: "lxc:1",
        partition: "local",
        command: ["/sbin/init"],
        ports: [{ name: "http", containerPort: 8080 }],
      });
      await strata.mustCall("PUT", "/v1/subscriptions/lxc", { cartridge: "lxc" });
      const [one] = await strata.readyProcesses("lxc", 1);
      assert.is(await pageOf(urlOf(one)), "made for lxc\n");
    },
    { timeoutMs: 180_000 },
  );
});
