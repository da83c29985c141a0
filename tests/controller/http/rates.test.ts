import {
  callerAddress,
  networkOf,
  readAddressRanges,
} from "@strata/controller/access/caller-address";
import { createGate } from "@strata/controller/access/gate";

import { aController } from "../../support/controller.ts";
import { aFakeAgent, prepare } from "../../support/fake-agent.ts";
import { assert, rejectsWithCode, suite } from "../../support/suite.ts";

suite("rates of tokens", (test) => {
  test("end a burst with 429, say when to come back, and let others on", async () => {
    await using controller = await aController({ environment: { STRATA_RATE_PER_MINUTE: "600" } });
    const { body } = await controller.call("POST", "/v1/tokens", {
      body: { name: "busy", scope: "viewer", ratePerMinute: 3 },
    });
    const ask = (token = body.token): ReturnType<typeof controller.call> =>
      controller.call("GET", "/v1/nodes", { token });
    const first = await ask();
    assert.is(first.headers.get("ratelimit-policy"), '"minute";q=3;w=60');
    assert.is(first.headers.get("ratelimit"), '"minute";r=2;t=20');
    await ask();
    await ask();
    const refused = await ask();
    assert.equal([refused.status, refused.body.code], [429, "RATE_LIMITED"]);
    assert.is(refused.headers.get("retry-after"), "20");
    assert.is((await ask(controller.adminToken)).status, 200);
    controller.advance(20_000);
    assert.is((await ask()).status, 200);
  });

  test("do not hold for agents", async () => {
    await using controller = await aController({ environment: { STRATA_RATE_PER_MINUTE: "20" } });
    await prepare(controller);
    const agent = await aFakeAgent(controller);
    for (let count = 0; count < 50; count += 1) await agent.work();
  });

  test("leave no line of each refusal in the audit log", async () => {
    await using controller = await aController();
    const { body } = await controller.call("POST", "/v1/tokens", {
      body: { name: "busy", scope: "admin", ratePerMinute: 1 },
    });
    for (let count = 0; count < 5; count += 1)
      await controller.call("PUT", `/v1/partitions/p${count}`, { token: body.token, body: {} });
    const { items } = (await controller.call("GET", "/v1/audit?path=/v1/partitions")).body;
    assert.is(items.length, 1);
  });
});

suite("wrong credentials", (test) => {
  const wrong = { authenticate: () => undefined, monotonicMs: () => 0, ratePerMinute: 0 };

  test("of one address are refused unread after sixty in a minute; those of others are not", async () => {
    const gate = createGate(wrong);
    for (let count = 0; count < 60; count += 1) await gate.admit("x", "192.0.2.1");
    await rejectsWithCode(gate.admit("x", "192.0.2.1"), "RATE_LIMITED");
    await gate.admit("x", "192.0.2.2");
  });

  test("are counted by network where an address costs nothing", async () => {
    const gate = createGate(wrong);
    for (let count = 0; count < 60; count += 1)
      await gate.admit("x", `2001:db8:0:1::${count.toString(16)}`);
    await rejectsWithCode(gate.admit("x", "2001:db8:0:1:ffff::1"), "RATE_LIMITED");
    await gate.admit("x", "2001:db8:0:2::1");
  });

  test("do not lock out whoever has the right one behind the same address", async () => {
    const caller = {
      id: "token-a",
      scope: "viewer",
      tenant: "default",
      nodeId: undefined,
      ratePerMinute: null,
    } as const;
    const authenticate = (text: string): typeof caller | undefined =>
      text === "right" ? caller : undefined;
    const gate = createGate({ ...wrong, authenticate });
    for (let count = 0; count < 60; count += 1) await gate.admit("x", "192.0.2.1");
    await rejectsWithCode(gate.admit("x", "192.0.2.1"), "RATE_LIMITED");
    assert.is((await gate.admit("right", "192.0.2.1")).caller?.id, "token-a");
  });
});

suite("callerAddress", (test) => {
  const ranges = (...texts: string[]): NonNullable<ReturnType<typeof readAddressRanges>> => {
    const list = readAddressRanges(texts);
    assert.ok(list);
    return list;
  };

  test("believes no header unless its sender was named", () => {
    const asked = { peer: "::ffff:192.0.2.7", forwarded: "203.0.113.9" };
    assert.is(callerAddress(asked, ranges()), "192.0.2.7");
    assert.is(callerAddress(asked, ranges("192.0.2.0/24")), "203.0.113.9");
  });

  test("takes the last hop that is no proxy of ours, whatever the client wrote before it", () => {
    const forwarded = "10.9.9.9, 198.51.100.1, 10.0.0.2";
    assert.is(callerAddress({ peer: "10.0.0.1", forwarded }, ranges("10.0.0.0/8")), "198.51.100.1");
    const odd = { peer: "10.0.0.1", forwarded: "198.51.100.1, <script>" };
    assert.is(callerAddress(odd, ranges("10.0.0.0/8")), "10.0.0.1");
    assert.is(callerAddress({ peer: undefined, forwarded: undefined }, ranges()), "");
  });

  test("knows a range from what is none", () => {
    for (const text of ["10.0.0.0/33", "nonsense", "10.0.0.0/x", "::/129", ""])
      assert.is(readAddressRanges([text]), undefined, text);
    assert.is(networkOf("2001:db8::1"), "2001:db8:0:0::/64");
    assert.is(networkOf("192.0.2.1"), "192.0.2.1");
  });
});
