import { duplexPair } from "node:stream";

import { exec, type ExecRequest } from "@strata/agent/container/exec";
import { createFrameDecoder, encodeFrame, type FrameType } from "@strata/protocol/agent/stream";

import type { TestNode } from "./a-node.ts";

export type ExecResult = {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number;
};

export type ExecSession = {
  readonly send: (type: FrameType, payload?: Buffer | string | object) => void;
  /** Resolves once the output holds `text`. */
  readonly untilOutput: (text: string) => Promise<void>;
  readonly hangUp: () => void;
  readonly result: Promise<ExecResult>;
};

let streams = 0;

/** A command in a running process, with both ends of its connection in this program. */
export function anExec(node: TestNode, request: Partial<ExecRequest>): ExecSession {
  const [client, agent] = duplexPair();
  const output = { stdout: "", stderr: "" };
  const exit = Promise.withResolvers<number>();
  const listeners = new Set<() => void>();
  const decode = createFrameDecoder();
  client.on("data", (chunk: Buffer) => {
    for (const { type, payload } of decode(chunk)) {
      if (type === "stdout" || type === "stderr") output[type] += payload.toString("utf8");
      if (type === "exit") exit.resolve(Number(JSON.parse(payload.toString("utf8")).code));
    }
    listeners.forEach((listener) => listener());
  });
  streams += 1;
  const done = exec(
    node.runtime().services.start,
    {
      kind: "exec",
      id: `stream-${streams}`,
      processId: "web-1",
      command: ["true"],
      tty: false,
      env: {},
      ...request,
    },
    agent,
  );
  return {
    send: (type, payload) => void client.write(encodeFrame(type, payload)),
    untilOutput: (text) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const listener = (): void => {
        if (output.stdout.includes(text)) resolve();
      };
      listeners.add(listener);
      listener();
      return promise;
    },
    hangUp: () => void client.end(),
    result: done.then(async () => ({ ...output, code: await exit.promise })),
  };
}
