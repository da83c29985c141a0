import { Duplex, PassThrough } from "node:stream";

import { exec, type ExecRequest } from "@strata/agent/container/exec";
import { createFrameDecoder, encodeFrame, type FrameType } from "@strata/protocol/agent/stream";

import type { TestNode } from "./a-node.ts";

export type ExecResult = {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number | undefined;
};

export type ExecSession = {
  readonly send: (type: FrameType, payload?: Buffer | string | object) => void;
  /** Resolves once the output holds `text`. */
  readonly untilOutput: (text: string) => Promise<void>;
  readonly hangUp: () => void;
  readonly result: Promise<ExecResult>;
};

/** A command in a running process, with both ends of its connection in this program. */
export function anExec(node: TestNode, request: Partial<ExecRequest>): ExecSession {
  const toAgent = new PassThrough();
  const fromAgent = new PassThrough();
  const connection = Duplex.from({ readable: toAgent, writable: fromAgent });
  const output = { stdout: "", stderr: "" };
  let code: number | undefined;
  const listeners = new Set<() => void>();
  const decode = createFrameDecoder();
  fromAgent.on("data", (chunk: Buffer) => {
    for (const { type, payload } of decode(chunk)) {
      if (type === "stdout" || type === "stderr") output[type] += payload.toString("utf8");
      if (type === "exit") code = Number(JSON.parse(payload.toString("utf8")).code);
    }
    listeners.forEach((listener) => listener());
  });
  const done = exec(
    node.runtime().services.start,
    {
      kind: "exec",
      id: `stream-${listeners.size}`,
      processId: "web-1",
      command: ["true"],
      tty: false,
      env: {},
      ...request,
    },
    connection,
  );
  return {
    send: (type, payload) => void toAgent.write(encodeFrame(type, payload)),
    untilOutput: (text) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const listener = (): void => {
        if (output.stdout.includes(text)) resolve();
      };
      listeners.add(listener);
      listener();
      return promise;
    },
    hangUp: () => void toAgent.end(),
    result: done.then(async () => {
      while (code === undefined) await new Promise((resolve) => setImmediate(resolve));
      return { ...output, code };
    }),
  };
}
