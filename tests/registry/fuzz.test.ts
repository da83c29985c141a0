/** Hostile requests, by a printed seed: never a 5xx, never a hang, and memory stays what it was.
 * `STRATA_FUZZ_SEED=…` does the same again; `STRATA_FUZZ_REQUESTS=…` does more than the time of a test run allows. */
import { randomInt } from "node:crypto";
import process from "node:process";

import fc from "fast-check";

import { bundleStore } from "../../scripts/bundle.ts";
import { createClient, digestOf } from "../support/registry-client.ts";
import { startStore, type StoreProcess } from "../support/store-process.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";
import { exchange, expand, type RawAnswer } from "./fuzz/exchange.ts";
import {
  type Framing,
  type HostileRequest,
  hostileRequests,
  known,
  knownDigest,
  type UploadStep,
  uploadSteps,
} from "./fuzz/requests.ts";

const wanted = process.env["STRATA_FUZZ_REQUESTS"];
const REQUESTS = Number(wanted ?? 100_000);
const seed = Number(process.env["STRATA_FUZZ_SEED"] ?? randomInt(2 ** 31));
/** Of a test run; whoever asks for a number gets all of it. */
const BUDGET_MS = wanted === undefined ? 60_000 : 24 * 3_600_000;
const TIMEOUT_MS = 2.5 * BUDGET_MS;
const AT_ONCE = 8;
/** A store that is idle holds a third of it. */
const PEAK_MIB_MAX = 400;

type Field = AsyncDisposable & { readonly port: number; readonly store: StoreProcess };

async function aFuzzedStore(): Promise<Field> {
  const { program } = await bundleStore();
  const folder = aTemporaryDirectory();
  const store = await startStore([program, "--data", folder.path, "--port", "0"]);
  await createClient(store.url).pushBlob("repo", known);
  return {
    port: Number(new URL(store.url).port),
    store,
    [Symbol.asyncDispose]: async () => {
      await store.kill();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** What must hold when all is over. */
async function expectWell({ store }: Field): Promise<void> {
  const after = await createClient(store.url).send("GET", `/v2/repo/blobs/${knownDigest}`);
  assert.ok(after.status === 404 || after.body.equals(known));
  assert.not.match(store.said(), /"level":"error"/);
  assert.ok(store.peakMiB() < PEAK_MIB_MAX, `${store.peakMiB()} MiB`);
}

function expectNoFault({ status, reset }: RawAnswer, request: HostileRequest): void {
  const { method, path, framing } = request;
  // Nobody listens for the answer to half a request.
  if (status === 0 && (reset || framing === "long" || framing === "broken")) return;
  assert.ok(status >= 200 && status < 500, `${status} for ${method} ${path}`);
}

/** Half of all requests, so many in each run. */
async function assertProperty<Values>(
  property: fc.IAsyncProperty<Values>,
  each: number,
): Promise<void> {
  await fc.assert(property, {
    seed,
    numRuns: Math.ceil(REQUESTS / 2 / each),
    includeErrorInReport: true,
    plugins: [fc.interruptAfterTimeLimit(BUDGET_MS)],
  });
}

suite(`hostile requests (STRATA_FUZZ_SEED=${seed})`, (test) => {
  test(
    "to any path never make the store fail, hang or grow",
    async () => {
      await using field = await aFuzzedStore();
      let sent = 0;
      const send = async (request: HostileRequest): Promise<void> => {
        const answer = await exchange(field.port, request);
        sent += 1;
        expectNoFault(answer, request);
        const upload = /^location: (\S*\/uploads\/\S+)$/im.exec(answer.head)?.[1];
        // Or the limit of unfinished uploads would soon be all that answers.
        if (upload !== undefined && request.method === "POST") await cancel(field.port, upload);
      };
      const together = fc.array(hostileRequests, { minLength: AT_ONCE, maxLength: AT_ONCE });
      await assertProperty(
        fc.asyncProperty(together, async (requests) => {
          await Promise.all(requests.map(send));
        }),
        AT_ONCE,
      );
      console.log(`${sent} requests, at most ${Math.round(field.store.peakMiB())} MiB`);
      await expectWell(field);
    },
    { timeoutMs: TIMEOUT_MS },
  );

  test(
    "to uploads leave each with exactly the bytes that were taken",
    async () => {
      await using field = await aFuzzedStore();
      let sent = 0;
      const live = async (steps: readonly UploadStep[]): Promise<void> => {
        const count = await liveThrough(field.port, steps);
        sent += count;
      };
      const together = fc.array(uploadSteps, { minLength: AT_ONCE, maxLength: AT_ONCE });
      await assertProperty(
        fc.asyncProperty(together, async (lives) => {
          await Promise.all(lives.map(live));
        }),
        AT_ONCE * 9,
      );
      console.log(`${sent} requests, at most ${Math.round(field.store.peakMiB())} MiB`);
      await expectWell(field);
    },
    { timeoutMs: TIMEOUT_MS },
  );
});

const plain = { query: "", headers: {}, body: "", framing: "length" } as const;

async function cancel(port: number, path: string): Promise<void> {
  const { status } = await exchange(port, { ...plain, method: "DELETE", path });
  assert.ok(status === 204 || status === 404, `${status} to a DELETE of ${path}`);
}

/** Plays one upload from its start; gives the number of requests. */
async function liveThrough(port: number, steps: readonly UploadStep[]): Promise<number> {
  const start = { ...plain, method: "POST", path: "/v2/repo/blobs/uploads/" };
  const started = await exchange(port, start);
  assert.is(started.status, 202);
  const path = /^location: (\S+)$/im.exec(started.head)?.[1] ?? "";
  let stored: Buffer | undefined = Buffer.alloc(0);
  let sent = 1;
  for (const step of steps) {
    const request = toRequest(step, { path, stored });
    const answer = await exchange(port, request);
    expectNoFault(answer, request);
    sent += 2;
    // Node itself answers what it cannot parse to its end, while the store may still be at work on its beginning.
    if (answer.status === 0 || !wholeFramings.has(step.framing)) break;
    const status = await exchange(port, { ...plain, method: "GET", path });
    stored = expectStep({ step, stored, answer, status });
  }
  await cancel(port, path);
  return sent + 1;
}

/** Those whose answer is the store's own, or that never reach it. */
const wholeFramings: ReadonlySet<Framing> = new Set<Framing>(["length", "chunked", "twice"]);

type Place = { readonly path: string; readonly stored: Buffer | undefined };

function toRequest(step: UploadStep, { path, stored }: Place): HostileRequest {
  const { method, framing } = step;
  const body = expand(step.body);
  const start = stored?.length ?? 0;
  const next = `${start}-${start + Math.max(0, body.length - 1)}`;
  const right = digestOf(Buffer.concat([stored ?? Buffer.alloc(0), Buffer.from(body)]));
  return {
    method,
    path,
    query: method === "PUT" ? step.query.replace("RIGHT", right) : "",
    headers: { "content-range": step.contentRange?.replace("NEXT", next) },
    body,
    framing,
  };
}

type Step = {
  readonly step: UploadStep;
  readonly stored: Buffer | undefined;
  readonly answer: RawAnswer;
  readonly status: RawAnswer;
};

/** What the upload has after the step, undefined when it is gone; fails when that is not what the answer said. */
function expectStep({ step, stored, answer, status }: Step): Buffer | undefined {
  if (stored === undefined) {
    assert.is(status.status, 404, "an upload that was gone came back");
    return undefined;
  }
  if (status.status === 404) {
    // Closed, cancelled, or given up for a wrong digest: by nothing else.
    assert.ok(step.method === "PUT" || step.method === "DELETE", `${step.method} lost the upload`);
    return undefined;
  }
  assert.is(status.status, 204);
  const last = Number(/^range: 0-(\d+)$/im.exec(status.head)?.[1]);
  // The header cannot tell one byte from none; no step sends one.
  const bytes = last === 0 ? 0 : last + 1;
  const whole = Buffer.concat([stored, Buffer.from(expand(step.body))]);
  const taken = answer.status === 202 && step.method === "PATCH" && step.framing === "length";
  if (taken) assert.is(bytes, whole.length);
  // Of half a request, what came may be kept; of a refused one, nothing.
  assert.ok(bytes >= stored.length && bytes <= whole.length, `${bytes} of ${whole.length}`);
  return whole.subarray(0, bytes);
}
