/** Debian's docker-registry as a real process, and a relay in front of it that counts and breaks. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";

export type DockerRegistry = AsyncDisposable & {
  readonly url: string;
  /** Where it keeps everything. */
  readonly folder: string;
  /** Ends it as a power cut does. */
  readonly kill: () => Promise<void>;
  /** Starts it again, on the same port and folder. */
  readonly start: () => Promise<void>;
};

export type DockerRegistryOptions = {
  readonly folder: string;
  /** Asks for this log-in, by Basic. */
  readonly user?: { readonly name: string; readonly password: string } | undefined;
};

export async function aDockerRegistry({
  folder,
  user,
}: DockerRegistryOptions): Promise<DockerRegistry> {
  mkdirSync(folder, { recursive: true });
  let child: ChildProcess | undefined;
  let address = "127.0.0.1:0";
  const start = async (): Promise<void> => {
    const config = join(folder, "config.yml");
    writeFileSync(config, configure({ folder, address, user }));
    child = spawn("docker-registry", ["serve", config], { stdio: ["ignore", "ignore", "pipe"] });
    address = await readAddress(child);
  };
  const kill = async (): Promise<void> => {
    if (child === undefined) return;
    child.kill("SIGKILL");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  };
  await start();
  return { url: `http://${address}`, folder, kill, start, [Symbol.asyncDispose]: kill };
}

type Settings = DockerRegistryOptions & { readonly address: string };

function configure({ folder, address, user }: Settings): string {
  const config = {
    version: "0.1",
    log: { accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(folder, "data") }, delete: { enabled: true } },
    http: { addr: address },
    ...(user === undefined
      ? {}
      : { auth: { htpasswd: { realm: "test", path: writeUser(folder, user) } } }),
  };
  // JSON is YAML.
  return JSON.stringify(config);
}

function writeUser(folder: string, user: NonNullable<Settings["user"]>): string {
  const path = join(folder, "htpasswd");
  const salt = "$2y$05$abcdefghijklmnopqrstuu";
  const program = "print crypt($ARGV[0], $ARGV[1])";
  const hash = execFileSync("perl", ["-e", program, user.password, salt], { encoding: "utf8" });
  writeFileSync(path, `${user.name}:${hash}\n`);
  return path;
}

/** The port that it was given, from its log. */
async function readAddress(child: ChildProcess): Promise<string> {
  const { stderr } = child;
  if (stderr === null) throw new Error("docker-registry has no log");
  const seen: string[] = [];
  for await (const line of createInterface({ input: stderr })) {
    seen.push(line);
    const address = /listening on (127\.0\.0\.1:\d+)/.exec(line)?.[1];
    if (address === undefined) continue;
    stderr.resume();
    return address;
  }
  throw new Error(`docker-registry ended: ${seen.join("\n")}`);
}

export type Relay = AsyncDisposable & {
  readonly url: string;
  /** `GET /v2/…` and the range that was asked for, in their order. */
  readonly requests: string[];
  /** Called for each answer with its path, before its body; may wait, or break the answer off after so many bytes. */
  onAnswer: ((path: string) => Interference | undefined) | undefined;
};

export type Interference = {
  /** Bytes of the body that pass. */
  readonly afterBytes: number;
  /** What happens then is waited for; after that the connection is cut when `cut`, and else goes on. */
  readonly wait?: Promise<void>;
  readonly onHeld?: () => void;
  readonly cut: boolean;
  /** What passes instead of each piece of the body. */
  readonly alter?: (bytes: Buffer) => Buffer;
};

export async function aRelay(target: string): Promise<Relay> {
  const relay: { -readonly [Key in "requests" | "onAnswer"]: Relay[Key] } = {
    requests: [],
    onAnswer: undefined,
  };
  const server = createServer((incoming, outgoing) => {
    const { method, url: path = "/", headers } = incoming;
    relay.requests.push([method, path, headers.range].filter(Boolean).join(" "));
    const onward = request(new URL(path, target), { method: method ?? "GET", headers });
    onward.on("error", () => refuse(outgoing));
    onward.on("response", (answer) => {
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
      passOn(answer, outgoing, relay.onAnswer?.(path)).catch(() => outgoing.destroy());
    });
    incoming.pipe(onward);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return Object.assign(relay, {
    url: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  });
}

function refuse(outgoing: ServerResponse): void {
  if (outgoing.headersSent) outgoing.destroy();
  else outgoing.writeHead(502).end();
}

async function passOn(
  answer: IncomingMessage,
  outgoing: ServerResponse,
  interference: Interference | undefined,
): Promise<void> {
  let passed = 0;
  let held = false;
  for await (const chunk of answer) {
    const real = Buffer.from(chunk);
    const bytes = interference?.alter?.(real) ?? real;
    if (interference !== undefined && !held && passed + bytes.length > interference.afterBytes) {
      held = true;
      const before = bytes.subarray(0, interference.afterBytes - passed);
      // Waited for, so that it arrives before an end does.
      await new Promise((resolve) => outgoing.write(before, resolve));
      interference.onHeld?.();
      await interference.wait;
      if (interference.cut) {
        outgoing.destroy();
        return;
      }
      outgoing.write(bytes.subarray(before.length));
    } else if (!outgoing.write(bytes)) await once(outgoing, "drain");
    passed += bytes.length;
  }
  outgoing.end();
}
