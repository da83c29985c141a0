import { execFile } from "node:child_process";
import { promisify } from "node:util";

export type Target = readonly [address: string, port: number];

/** Asks an HTTP server at each target from a process's network, all at once: what it answers, `refused` by a reset or by
 * ICMP, or the code of another error. What is dropped without a word is ETIMEDOUT after five seconds. */
export async function askInside(
  pid: number | undefined,
  targets: readonly Target[],
): Promise<readonly string[]> {
  const program = `
    const { connect } = require("node:net");
    const ask = ([host, port]) => new Promise((resolve) => {
      const socket = connect({ host, port });
      let text = "";
      socket.setTimeout(5000, () => { resolve("ETIMEDOUT"); socket.destroy(); });
      socket.on("connect", () => socket.end("GET / HTTP/1.0\\r\\n\\r\\n"));
      socket.on("data", (bytes) => { text += bytes; });
      socket.on("close", () => resolve(text.trim().split("\\n").at(-1)));
      socket.on("error", (error) => resolve(error.code));
    });
    Promise.all(JSON.parse(process.argv[1]).map(ask)).then((all) => console.log(JSON.stringify(all)));`;
  const inside = ["-t", String(pid), "--net", process.execPath, "-e", program];
  const { stdout } = await promisify(execFile)("nsenter", [...inside, JSON.stringify(targets)]);
  const answers: unknown = JSON.parse(stdout);
  const texts = Array.isArray(answers) ? answers.map(String) : [];
  return texts.map((text) => (refusals.has(text) ? "refused" : text));
}

const refusals = new Set(["ECONNREFUSED", "EHOSTUNREACH", "EACCES"]);

export type Question = readonly [type: "A" | "SRV", name: string];

/** Asks a name server from a process's network: addresses, or `target:port` of SRV records, in order; or the error. */
export async function resolveInside(
  pid: number | undefined,
  server: string,
  questions: readonly Question[],
): Promise<readonly string[]> {
  const program = `
    const { promises: { Resolver } } = require("node:dns");
    const [server, questions] = process.argv.slice(1);
    const resolver = new Resolver({ timeout: 2000, tries: 3 });
    resolver.setServers([server]);
    const ask = ([type, name]) => resolver.resolve(name, type).then(
      (all) => all.map((found) => (type === "A" ? found : found.name + ":" + found.port)).sort().join(" "),
      (error) => error.code);
    Promise.all(JSON.parse(questions).map(ask)).then((all) => console.log(JSON.stringify(all)));`;
  const inside = ["-t", String(pid), "--net", process.execPath, "-e", program];
  const args = [...inside, server, JSON.stringify(questions)];
  const { stdout } = await promisify(execFile)("nsenter", args);
  const answers: unknown = JSON.parse(stdout);
  return Array.isArray(answers) ? answers.map(String) : [];
}
