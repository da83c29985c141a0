import { aController, type TestController } from "../../support/controller.ts";
import { assert, suite } from "../../support/suite.ts";

type Follower = AsyncDisposable & { readonly next: (count: number) => Promise<readonly string[]> };

/** Follows events and gives out their ids and types. */
async function follow(
  controller: TestController,
  headers: Record<string, string> = {},
): Promise<Follower> {
  const gone = new AbortController();
  const answer = await controller.request("/v1/events?type=partition", {
    headers: {
      authorization: `Bearer ${controller.adminToken}`,
      accept: "text/event-stream",
      ...headers,
    },
    signal: gone.signal,
  });
  assert.is(answer.headers.get("content-type"), "text/event-stream");
  const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
  if (reader === undefined) throw new Error("no body");
  // The comment that says that it is connected.
  let text = (await reader.read()).value ?? "";
  return {
    next: async (count) => {
      const events = (): string[] =>
        [...text.matchAll(/event: (\S+)\ndata: .*\nid: (\d+)\n\n/g)].map(
          ([, type, id]) => `${id} ${type}`,
        );
      while (events().length < count) text += (await reader.read()).value ?? "";
      const found = events().slice(0, count);
      text = "";
      return found;
    },
    [Symbol.asyncDispose]: async () => {
      gone.abort();
      await reader.cancel();
    },
  };
}

const put = async (controller: TestController, name: string): Promise<void> => {
  await controller.call("PUT", `/v1/partitions/${name}`, { body: {} });
};

suite("GET /v1/events", (test) => {
  test("follows new events as they come, and only those that are asked for", async () => {
    await using controller = await aController();
    await put(controller, "before");
    await using follower = await follow(controller);
    await put(controller, "one");
    await controller.call("PUT", "/v1/scaling-policies/x", { body: { max: 1 } });
    await put(controller, "two");
    assert.equal(
      (await follower.next(2)).map((line) => line.split(" ")[1]),
      ["partition.created", "partition.created"],
    );
  });

  test("resumes after Last-Event-ID without a gap and without a repetition", async () => {
    await using controller = await aController();
    await put(controller, "a");
    let last: string;
    {
      await using follower = await follow(controller, { "last-event-id": "0" });
      const [first = ""] = await follower.next(1);
      last = first.split(" ")[0] ?? "";
    }
    await put(controller, "b");
    await put(controller, "c");
    await using again = await follow(controller, { "last-event-id": last });
    const ids = (await again.next(2)).map((line) => Number(line.split(" ")[0]));
    assert.ok(ids.every((id) => id > Number(last)));
    await put(controller, "d");
    const [next = ""] = await again.next(1);
    assert.ok(Number(next.split(" ")[0]) > Math.max(...ids));
  });

  test("as a list gives the last ones, or those after one, filtered by type and subject", async () => {
    await using controller = await aController();
    for (const name of ["a", "b", "c"]) await put(controller, name);
    const list = async (
      query: string,
    ): Promise<{ items: { id: number; subject: string }[]; next: string | null }> =>
      (await controller.call("GET", `/v1/events?${query}`)).body;
    const subjects = async (query: string): Promise<string[]> =>
      (await list(query)).items.map(({ subject }) => subject);
    assert.equal(await subjects("limit=2"), ["b", "c"]);
    assert.equal(await subjects("type=partition.created&subject=b"), ["b"]);
    assert.equal(await subjects("type=part"), []);
    const page = await list("after=0&type=partition&limit=2");
    assert.equal(
      page.items.map(({ subject }) => subject),
      ["a", "b"],
    );
    assert.equal(await subjects(`after=${page.next}&type=partition&limit=2`), ["c"]);
  });

  test("old events go when there are more than the limit", async () => {
    await using controller = await aController({ environment: { STRATA_EVENTS_MAX: "1000" } });
    controller.services.store.write((unit) => {
      for (let index = 0; index < 3000; index += 1)
        unit.emit({ type: "test.event", subject: "x", message: "x" });
    });
    const { items } = (await controller.call("GET", "/v1/events?after=0&limit=1")).body;
    assert.ok(items[0].id > 1700, `${items[0].id}`);
  });
});
