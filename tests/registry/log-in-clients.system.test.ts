/** skopeo, podman and buildah log in: at the store on its own over TLS, and at the controller. */
import { execFile } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";

import { aControllerProcess } from "../support/controller-process.ts";
import { missingPrograms } from "../support/installed.ts";
import { randomBlob } from "../support/registry-client.ts";
import { aStandAloneStore, runStore, type StandAloneStore } from "../support/stand-alone-store.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory, type TemporaryDirectory } from "../support/temporary.ts";

const run = promisify(execFile);
const slow = { timeoutMs: 300_000 };
const programs = ["skopeo", "podman", "buildah"] as const;
type Program = (typeof programs)[number];

type Scene = AsyncDisposable & {
  readonly folder: string;
  readonly server: StandAloneStore;
  /** A token of alice. */
  readonly token: string;
};

/** A store with TLS, alice who may push to team/, and bob who may pull there. */
async function aScene(): Promise<Scene> {
  const folder = aTemporaryDirectory();
  const { path } = folder;
  const [certificate, key] = await makeCertificate(path);
  const users = ["--users", join(path, "users.json")];
  const set = ["user", "set", "--password-file", "-", ...users];
  assert.is((await runStore([...set, "alice", "--push", "team/*"], "secret of alice\n")).status, 0);
  assert.is((await runStore([...set, "bob", "--pull", "team/*"], "secret of bob\n")).status, 0);
  const { stdout: token } = await runStore(["user", "token", "alice", ...users]);
  const tls = ["--tls-cert", certificate, "--tls-key", key];
  const server = await aStandAloneStore(join(path, "store"), [...users, ...tls]);
  return {
    folder: path,
    server,
    token: token.trim(),
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Its own authority, as PEM files of certificate and key; `certs` in the folder is what clients trust. */
async function makeCertificate(folder: string): Promise<readonly [string, string]> {
  const [certificate, key] = [join(folder, "server.pem"), join(folder, "server.key")];
  const request = ["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=store"];
  const names = ["-addext", "subjectAltName=IP:127.0.0.1"];
  const made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
  await run("openssl", [...request, ...names, ...made, "-keyout", key, "-out", certificate]);
  trust(folder, certificate);
  return [certificate, key];
}

function trust(folder: string, authority: string): void {
  mkdirSync(join(folder, "certs"), { recursive: true });
  copyFileSync(authority, join(folder, "certs", "ca.crt"));
}

/** Runs a client that keeps its log-ins and images in the folder, each program apart. */
async function client(
  folder: string,
  program: Program,
  args: readonly string[],
): Promise<{ readonly ok: boolean; readonly output: string }> {
  const at = (part: string): string => join(folder, program, part);
  const storage =
    program === "skopeo"
      ? []
      : ["--root", at("root"), "--runroot", at("run"), "--storage-driver", "vfs"];
  const manager =
    program === "podman" ? ["--cgroup-manager=cgroupfs", "--events-backend=none"] : [];
  const logins = join(folder, `${program}.json`);
  if (!existsSync(logins)) writeFileSync(logins, "{}");
  const env = { ...process.env, REGISTRY_AUTH_FILE: logins };
  try {
    const { stdout, stderr } = await run(program, [...storage, ...manager, ...args], { env });
    return { ok: true, output: stdout + stderr };
  } catch (error) {
    return { ok: false, output: String(error) };
  }
}

/** Logs in as this user, trusting what is in `certs`. */
function logIn(
  folder: string,
  program: Program,
  {
    host,
    name,
    password,
  }: { readonly host: string; readonly name: string; readonly password: string },
): ReturnType<typeof client> {
  const trusted = ["--cert-dir", join(folder, "certs")];
  return client(folder, program, ["login", ...trusted, "-u", name, "-p", password, host]);
}

/** An image as an archive that every client reads. */
async function anArchive(folder: string): Promise<string> {
  const context = join(folder, "context");
  mkdirSync(context, { recursive: true });
  writeFileSync(join(context, "content"), randomBlob(100_000));
  writeFileSync(join(context, "Containerfile"), "FROM scratch\nCOPY content /\n");
  const build = ["bud", "--isolation", "chroot", "-t", "built", context];
  assert.ok((await client(folder, "buildah", build)).ok);
  const archive = join(folder, "image.tar");
  const saved = await client(folder, "buildah", ["push", "built", `oci-archive:${archive}`]);
  assert.ok(saved.ok, saved.output);
  return archive;
}

const pushes: Readonly<Record<Program, (to: string, archive: string) => readonly string[]>> = {
  skopeo: (to, archive) => ["copy", `oci-archive:${archive}`, `docker://${to}`],
  podman: (to) => ["push", "built", to],
  buildah: (to) => ["push", "built", `docker://${to}`],
};

async function push(
  folder: string,
  program: Program,
  { to, archive }: { readonly to: string; readonly archive: string },
): ReturnType<typeof client> {
  if (program === "podman") {
    const loaded = await client(folder, "podman", ["load", "-i", archive]);
    const id = /sha256:([0-9a-f]{64})/.exec(loaded.output)?.[1] ?? "";
    await client(folder, "podman", ["tag", id, "built"]);
  }
  const certificates = program === "skopeo" ? "--dest-cert-dir" : "--cert-dir";
  const [verb = "", ...rest] = pushes[program](to, archive);
  return client(folder, program, [verb, certificates, join(folder, "certs"), ...rest]);
}

function pull(folder: string, program: Program, from: string): ReturnType<typeof client> {
  const certificates = ["--cert-dir", join(folder, "certs")];
  return program === "skopeo"
    ? client(folder, program, ["inspect", ...certificates, `docker://${from}`])
    : client(folder, program, ["pull", ...certificates, from]);
}

async function scopedToken(
  controller: Awaited<ReturnType<typeof aControllerProcess>>,
  scope: string,
): Promise<string> {
  const body = { name: scope, scope };
  const answer = await controller.call("POST", "/v1/tokens", { body });
  assert.is(answer.status, 201, JSON.stringify(answer.body));
  return /strata_[a-z0-9-]+_[A-Za-z0-9_-]+/.exec(JSON.stringify(answer.body))?.[0] ?? "";
}

suite("clients log in", (test) => {
  const missing = missingPrograms([...programs, "openssl"]);
  if (missing.length > 0 || process.getuid?.() !== 0) {
    test.skip("log-in", `needs root and ${missing.join(", ")}`);
    return;
  }

  for (const program of programs) {
    test(
      `${program} logs in by password and by token over TLS, pushes and pulls`,
      async () => {
        await using scene = await aScene();
        const { folder, server, token } = scene;
        const { host } = server;
        const archive = await anArchive(folder);
        const to = `${host}/team/${program}:1`;
        assert.not((await push(folder, program, { to, archive })).ok, "pushed without log-in");
        for (const [name, password] of [
          ["alice", "wrong"],
          ["nobody", "secret of alice"],
        ] as const) {
          const refused = await logIn(folder, program, { host, name, password });
          assert.not(refused.ok);
          assert.match(refused.output, /invalid username\/password/);
        }
        for (const [name, password] of [
          ["alice", "secret of alice"],
          ["whoever", token],
        ] as const) {
          const entered = await logIn(folder, program, { host, name, password });
          assert.ok(entered.ok, entered.output);
          const pushed = await push(folder, program, { to, archive });
          assert.ok(pushed.ok, pushed.output);
          const pulled = await pull(folder, program, to);
          assert.ok(pulled.ok, pulled.output);
        }
        const elsewhere = { to: `${host}/other/${program}:1`, archive };
        assert.not((await push(folder, program, elsewhere)).ok, "pushed where alice may not");
        const bob = await logIn(folder, program, { host, name: "bob", password: "secret of bob" });
        assert.ok(bob.ok, bob.output);
        assert.ok((await pull(folder, program, to)).ok);
        const refused = await push(folder, program, { to: `${host}/team/new:1`, archive });
        assert.not(refused.ok, "pushed by a user who may only pull");
        assert.match(refused.output, /denied|unauthorized|authentication required/i);
      },
      slow,
    );
  }

  test(
    "each client logs in to the controller with its tokens, by the scope that they have",
    async () => {
      await using folder: TemporaryDirectory = aTemporaryDirectory();
      const { path } = folder;
      await using controller = await aControllerProcess();
      const archive = await anArchive(path);
      trust(path, join(controller.dataDirectory, "controller", "ca", "ca.pem"));
      const host = `127.0.0.1:${controller.port}`;
      const [pushToken, pullToken] = [
        await scopedToken(controller, "push"),
        await scopedToken(controller, "pull"),
      ];
      for (const program of programs) {
        const wrong = await logIn(path, program, { host, name: "x", password: `${pushToken}x` });
        assert.not(wrong.ok);
        const to = `${host}/team/${program}:1`;
        const entered = await logIn(path, program, { host, name: "x", password: pushToken });
        assert.ok(entered.ok, entered.output);
        const pushed = await push(path, program, { to, archive });
        assert.ok(pushed.ok, pushed.output);
        await logIn(path, program, { host, name: "x", password: pullToken });
        const pulled = await pull(path, program, to);
        assert.ok(pulled.ok, pulled.output);
        assert.not((await push(path, program, { to: `${to}-again`, archive })).ok);
      }
    },
    slow,
  );
});
