import { stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { pipeline } from "node:stream/promises";

import type { CopyResult } from "@strata/protocol/api/resources";

import type { ApiClient } from "../api/client.ts";
import { findProcess } from "../api/find-process.ts";
import { openSession, pathSegment, withQuery } from "../api/session.ts";
import { chunksOf } from "../chunks.ts";
import type { Invocation } from "../command.ts";
import { say } from "../context.ts";
import { type ExtractOptions, extractTree } from "../copy/extract.ts";
import { packTree } from "../copy/pack.ts";
import { parsePlace, type Place, topOf } from "../copy/place.ts";
import { CliError } from "../errors.ts";
import { getText } from "../options.ts";

type ProcessPlace = Extract<Place, { kind: "process" }>;

export async function run(invocation: Invocation): Promise<void> {
  const [source, target] = invocation.args.map(parsePlace);
  if (source?.kind === "process" && target !== undefined && target.kind !== "process")
    return await copyOut(invocation, source, target);
  if (target?.kind === "process" && source !== undefined && source.kind !== "process")
    return await copyIn(invocation, source, target);
  throw new CliError("USAGE", "one of the two is in a process, as PROCESS:PATH", {
    hint: "between two processes: strata cp A:/x - | strata cp - B:/",
  });
}

async function copyOut(
  invocation: Invocation,
  source: ProcessPlace,
  target: Exclude<Place, ProcessPlace>,
): Promise<void> {
  const { context } = invocation;
  if (target.kind === "pipe" && context.stdout.isTTY === true)
    throw new CliError("USAGE", "an archive is nothing for a terminal", {
      hint: "send it on: strata cp PROCESS:PATH - | tar -x",
    });
  const client = await openSession(invocation);
  const path = await filesPath(invocation, client, source);
  const archive = unbroken(
    client.stream({
      method: "GET",
      path: withQuery(path, { path: source.path }),
      headers: { accept: "application/x-tar" },
    }),
  );
  if (target.kind === "pipe") return await pipeline(archive, context.stdout, { end: false });
  const top = topOf(source.path);
  await extractTree(archive, {
    ...(await chooseTarget(target.path)),
    top,
    onSkipped: (name, why) => say(context, `left out ${name}: ${why}`),
  });
}

/** As `cp` has it: into a folder that is there, or as what does not exist yet beside others. */
async function chooseTarget(path: string): Promise<Pick<ExtractOptions, "folder" | "rename">> {
  if (await isFolder(path)) return { folder: path };
  const [folder, rename] = [dirname(path), basename(path)];
  if (await isFolder(folder)) return { folder, rename };
  throw new CliError("USAGE", `there is no folder ${folder}`, { hint: `mkdir -p ${folder}` });
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}

async function copyIn(
  invocation: Invocation,
  source: Exclude<Place, ProcessPlace>,
  target: ProcessPlace,
): Promise<void> {
  const { context } = invocation;
  const onSkipped = (path: string): void => say(context, `left out ${path}: no file or folder`);
  if (source.kind === "pipe" && context.stdin.isTTY === true)
    throw new CliError("USAGE", "an archive does not come from a terminal", {
      hint: "send one: tar -c FILES | strata cp - PROCESS:PATH",
    });
  const top = source.kind === "pipe" ? undefined : topOf(source.path);
  const body =
    source.kind === "pipe"
      ? context.stdin
      : await packTree(source.path, { top: top ?? ".", onSkipped });
  const client = await openSession(invocation);
  const path = await filesPath(invocation, client, target);
  const { body: answer } = await client.send({
    method: "PUT",
    path: withQuery(path, { path: target.path, top }),
    headers: { "content-type": "application/x-tar" },
    body: chunksOf(body),
  });
  const { skipped }: CopyResult = JSON.parse(answer);
  if (skipped > 0) say(context, `left out ${skipped} that are no files, folders or links`);
}

async function filesPath(
  { options }: Invocation,
  client: ApiClient,
  { name }: ProcessPlace,
): Promise<string> {
  const { id } = await findProcess(client, { name, tenant: getText(options, "tenant") });
  return `/v1/processes/${pathSegment(id)}/files`;
}

async function* unbroken(archive: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield* archive;
  } catch (cause) {
    if (cause instanceof CliError) throw cause;
    throw new CliError("UNREACHABLE", "the connection broke before all was copied", {
      cause,
      retryable: true,
      hint: "copy it again",
    });
  }
}
