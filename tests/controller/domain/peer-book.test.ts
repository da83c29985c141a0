import { createPeerBook, type PeerBook, type PeerFound } from "@strata/controller/domain/peer-book";
import { parseDigest } from "@strata/protocol/oci/digest";
import fc from "fast-check";

import { assert, suite } from "../../support/suite.ts";

const digest = parseDigest(`sha256:${"a".repeat(64)}`);
const other = parseDigest(`sha256:${"b".repeat(64)}`);

suite("peer book: who takes a blob from whom", (test) => {
  test("sends the first to the store and the others to each other, two to each", () => {
    const book = aBook(7);
    assert.equal(
      [0, 1, 2, 3, 4, 5, 6].map((index) => describe(find(book, `n${index}`))),
      ["store", "n0", "n0", "n1", "n2", "n1", "n2"],
    );
  });

  test("keeps partitions apart", () => {
    const book = createPeerBook();
    announce(book, "a", { partition: "one", have: [digest] });
    announce(book, "b", { partition: "two" });
    assert.is(describe(find(book, "b", { partition: "two" })), "store");
    announce(book, "c", { partition: "one" });
    assert.is(describe(find(book, "c", { partition: "one" })), "a");
  });

  test("offers no node that is away, has no port, or gave the blob up", () => {
    const book = createPeerBook();
    for (const name of ["away", "closed", "gone"]) {
      announce(book, name, { have: [digest], ...(name === "closed" ? { port: undefined } : {}) });
    }
    announce(book, "gone", { complete: false, gone: [digest] });
    announce(book, "n");
    assert.is(describe(find(book, "n", { away: ["away"] })), "store");
  });

  test("forgets what another life of an agent was at, and nodes that are no more", () => {
    const book = aBook(1);
    find(book, "n0");
    announce(book, "n0", { bootId: "another" });
    announce(book, "whole", { have: [digest] });
    book.forget("whole");
    announce(book, "n1");
    assert.is(describe(find(book, "n1")), "store");
  });

  test("replaces what a node has by a complete announcement, and leaves what it fetches", () => {
    const book = aBook(2);
    announce(book, "n0", { have: [digest] });
    announce(book, "n0", { have: [other] });
    assert.is(describe(find(book, "n1")), "store");
    announce(book, "n1", { have: [other] });
    announce(book, "n2");
    assert.is(describe(find(book, "n2")), "n1");
  });

  test("looks elsewhere after a failure, and lets wait rather than send a second one to the store", () => {
    const book = aBook(3);
    assert.is(describe(find(book, "n0")), "store");
    assert.is(describe(find(book, "n1")), "n0");
    assert.is(describe(find(book, "n2")), "n0");
    const failed = [{ nodeId: "n1", why: "unreachable" as const }];
    assert.is(describe(find(book, "n2", { failed })), "n0");
    const both = [{ nodeId: "n0", why: "unreachable" as const }, ...failed];
    // It may be n0 that is dead: nobody counts on it, and n2 becomes the one who asks the store.
    assert.is(describe(find(book, "n2", { failed: both })), "store");
    assert.is(describe(find(book, "n1", { failed: [{ nodeId: "n0", why: "unreachable" }] })), "n2");
  });

  test("lets a node wait while nobody is free, for a while", () => {
    const book = aBook(1);
    announce(book, "shy", { port: undefined });
    assert.is(describe(find(book, "shy")), "store");
    assert.is(find(book, "n0", { nowMs: 1000 }).kind, "wait");
    assert.is(find(book, "n0", { nowMs: 9000 }).kind, "wait");
    assert.is(find(book, "n0", { nowMs: 20_000 }).kind, "store");
  });

  test("tries a node again some time after it could not be reached, never after wrong bytes", () => {
    const book = aBook(2);
    announce(book, "n0", { have: [digest] });
    const unreachable = [{ nodeId: "n0", why: "unreachable" as const }];
    assert.is(describe(find(book, "n1", { failed: unreachable, nowMs: 0 })), "store");
    assert.is(describe(find(book, "n1", { nowMs: 20_000 })), "n0");
    const wrong = [{ nodeId: "n0", why: "wrong" as const }];
    assert.is(describe(find(book, "n1", { failed: wrong, nowMs: 30_000 })), "store");
    assert.is(describe(find(book, "n1", { nowMs: 90_000_000 })), "store");
  });

  test("offers nobody a node that two others got wrong bytes from", () => {
    const book = aBook(4);
    announce(book, "n0", { have: [digest] });
    const failed = [{ nodeId: "n0", why: "wrong" as const }];
    find(book, "n1", { failed });
    announce(book, "n1", { complete: false, gone: [digest] });
    assert.is(describe(find(book, "n3")), "n0");
    announce(book, "n3", { complete: false, gone: [digest] });
    find(book, "n2", { failed });
    announce(book, "n2", { complete: false, gone: [digest] });
    assert.is(describe(find(book, "n3")), "store");
  });

  test("never has a node wait for itself or serve more than two", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("find" as const), node: fc.nat(9), failed: fc.nat(9) }),
      fc.record({ kind: fc.constant("kept" as const), node: fc.nat(9), failed: fc.nat(9) }),
      fc.record({ kind: fc.constant("gone" as const), node: fc.nat(9), failed: fc.nat(9) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const book = aBook(10);
        const sources = new Map<string, string>();
        for (const { kind, node, failed } of steps) {
          const name = `n${node}`;
          if (kind === "find") {
            const tried = sources.get(name);
            const isFailure = failed < 3 && tried !== undefined && tried.startsWith("n");
            const answer = find(book, name, {
              failed: isFailure ? [{ nodeId: tried, why: "unreachable" }] : [],
            });
            sources.set(name, describe(answer));
            if (isFailure) assert.is.not(describe(answer), tried);
          } else {
            announce(book, name, {
              complete: false,
              [kind === "kept" ? "have" : "gone"]: [digest],
            });
            sources.delete(name);
          }
          checkTree(sources);
        }
      }),
      { numRuns: 300 },
    );
  });
});

function checkTree(sources: ReadonlyMap<string, string>): void {
  const children = new Map<string, number>();
  for (const [name, source] of sources) {
    children.set(source, (children.get(source) ?? 0) + 1);
    const seen = new Set<string>();
    for (let at: string | undefined = name; at !== undefined; at = sources.get(at)) {
      assert.not.ok(seen.has(at), `${name} waits for itself`);
      seen.add(at);
    }
  }
  for (const [source, count] of children)
    if (source.startsWith("n")) assert.ok(count <= 2, `${source} serves ${count}`);
}

function aBook(nodes: number): PeerBook {
  const book = createPeerBook();
  for (let index = 0; index < nodes; index += 1) announce(book, `n${index}`);
  return book;
}

type News = Parameters<PeerBook["announce"]>[1] & { readonly partition: string };

function announce(book: PeerBook, nodeId: string, news: Partial<News> = {}): void {
  const { partition = "local", ...rest } = news;
  book.announce(
    { nodeId, partition },
    { bootId: "boot", port: 7075, complete: true, have: [], gone: [], ...rest },
  );
}

type Finding = {
  readonly partition: string;
  readonly failed: Parameters<PeerBook["find"]>[0]["failed"];
  readonly nowMs: number;
  readonly away: readonly string[];
};

function find(book: PeerBook, nodeId: string, finding: Partial<Finding> = {}): PeerFound {
  const { partition = "local", failed = [], nowMs = 0, away = [] } = finding;
  return book.find({
    nodeId,
    partition,
    digest,
    failed,
    nowMs,
    isPresent: (id) => !away.includes(id),
  });
}

function describe(found: PeerFound): string {
  return found.kind === "node" ? found.nodeId : found.kind;
}
