/** A real ACME server (Debian's pebble) with a name server of its own, in which every name leads to this machine. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { get } from "node:https";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { getCACertificates, setDefaultCACertificates } from "node:tls";

import { ensureAuthority } from "@strata/controller/pki/authority";
import { ensureServerCertificate } from "@strata/controller/pki/server-certificate";

import { aTemporaryDirectory } from "./temporary.ts";

export type AcmeServer = AsyncDisposable & {
  readonly directory: string;
  /** Where it asks for HTTP-01: `http://host/.well-known/acme-challenge/…` comes to this address and port. */
  readonly challengeAddress: string;
  readonly challengePort: number;
};

export type AcmeServerOptions = {
  /** Accounts that are known beforehand, with their keys in base64url; left out, everybody may have one. */
  readonly accounts?: Readonly<Record<string, string>>;
};

const START_MS = 30_000;
const [ACME_PORT, MANAGEMENT_PORT, CHALLENGE_PORT, DNS_PORT] = [14_000, 15_000, 5002, 8053];

/** Listens on an address of loopback that is this process's own. This process trusts it from then on. */
export async function anAcmeServer({ accounts }: AcmeServerOptions = {}): Promise<AcmeServer> {
  await using undo = new AsyncDisposableStack();
  const folder = undo.use(aTemporaryDirectory());
  const address = ownAddress();
  const nowMs = Date.now();
  const authority = await ensureAuthority(folder.path, nowMs);
  const certificate = await ensureServerCertificate({
    directory: folder.path,
    authority,
    names: [address],
    nowMs,
  });
  const files = { chain: join(folder.path, "chain.pem"), key: join(folder.path, "key.pem") };
  writeFileSync(files.chain, certificate.chainPem);
  writeFileSync(files.key, certificate.keyPem);
  const config = join(folder.path, "config.json");
  writeFileSync(config, JSON.stringify({ pebble: settings({ address, files, accounts }) }));
  setDefaultCACertificates([...getCACertificates("default"), authority.certificatePem]);
  const names = start(
    "pebble-challtestsrv",
    [
      ["-defaultIPv4", address, "-defaultIPv6", "", "-dns01", `${address}:${DNS_PORT}`],
      ["-http01", "", "-https01", "", "-tlsalpn01", ""],
      ["-management", `${address}:${DNS_PORT + 1}`],
    ].flat(),
  );
  undo.defer(() => end(names));
  const pebble = start("pebble", ["-config", config, "-dnsserver", `${address}:${DNS_PORT}`]);
  undo.defer(() => end(pebble));
  const directory = `https://${address}:${ACME_PORT}/dir`;
  await untilAnswers(directory, pebble);
  const parts = undo.move();
  return {
    directory,
    challengeAddress: address,
    challengePort: CHALLENGE_PORT,
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

/** Answers challenges as an ingress does. */
export async function aChallengeServer(
  { challengeAddress, challengePort }: AcmeServer,
  answerOf: (token: string) => string | undefined,
): Promise<AsyncDisposable> {
  const server = createServer((request, response) => {
    const [, token = ""] =
      /^\/\.well-known\/acme-challenge\/([\w-]+)$/.exec(request.url ?? "") ?? [];
    const answer = answerOf(token);
    response.statusCode = answer === undefined ? 404 : 200;
    response.end(answer ?? "nothing here");
  });
  server.listen(challengePort, challengeAddress);
  await once(server, "listening");
  return {
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

/** 127.0.0.0/8 is all ours: one address for each process, whose ports nobody else takes. */
function ownAddress(): string {
  const { pid } = process;
  return `127.${100 + ((pid >> 16) & 63)}.${(pid >> 8) & 255}.${Math.max(1, pid & 255)}`;
}

function settings({
  address,
  files,
  accounts,
}: {
  readonly address: string;
  readonly files: { readonly chain: string; readonly key: string };
  readonly accounts: AcmeServerOptions["accounts"];
}): object {
  return {
    listenAddress: `${address}:${ACME_PORT}`,
    managementListenAddress: `${address}:${MANAGEMENT_PORT}`,
    certificate: files.chain,
    privateKey: files.key,
    httpPort: CHALLENGE_PORT,
    tlsPort: 5001,
    ocspResponderURL: "",
    externalAccountBindingRequired: accounts !== undefined,
    ...(accounts && { externalAccountMACKeys: accounts }),
  };
}

function start(program: string, args: readonly string[]): ChildProcess {
  return spawn(program, args, {
    stdio: "ignore",
    // It would wait for seconds before each look, and take proofs of earlier orders again.
    env: { ...process.env, PEBBLE_VA_NOSLEEP: "1", PEBBLE_AUTHZREUSE: "0" },
  });
}

async function untilAnswers(url: string, child: ChildProcess): Promise<void> {
  const endsAt = Date.now() + START_MS;
  while (Date.now() < endsAt) {
    if (child.exitCode !== null) throw new Error(`pebble ended with ${child.exitCode}`);
    if (await answers(url)) return;
    await delay(50);
  }
  throw new Error(`${url} did not answer in ${START_MS} ms`);
}

async function answers(url: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  get(url, (response) => {
    response.resume();
    resolve(response.statusCode === 200);
  }).once("error", () => resolve(false));
  return promise;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill("SIGTERM");
  await gone;
}
