import { createFakeCloud } from "@strata/controller/providers/fake";
import type { VmRequest } from "@strata/controller/providers/provider";
import fc from "fast-check";

import { providerContract } from "../../contract/provider.ts";
import { aVmRequest } from "../../support/machines/vm-request.ts";
import { assert, rejectsWithCode, suite } from "../../support/suite.ts";

providerContract("fake", async () => {
  const cloud = createFakeCloud({ now: () => 0 });
  const names = new Set(["controller-a", "controller-b"]);
  return {
    connect: (controllerId) => cloud.connect(controllerId),
    request: aVmRequest,
    killFromOutside: async (id) => cloud.powerOff(id),
    leftovers: async () => {
      const lists = [...names].map((name) => cloud.connect(name).list(never));
      return (await Promise.all(lists)).flat().map((vm) => vm.id);
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
});

const never = new AbortController().signal;

suite("the fake provider", (test) => {
  test("boots a VM when its time on the clock has come", async () => {
    let nowMs = 0;
    const provider = createFakeCloud({ now: () => nowMs, bootMs: () => 30_000 }).connect("a");
    const { id } = await provider.create(aVmRequest(), never);
    nowMs = 29_999;
    assert.is((await provider.describe(id, never))?.state, "creating");
    nowMs = 30_000;
    assert.is((await provider.describe(id, never))?.state, "running");
  });

  test("fails by its script: so often, in this window, with this code", async () => {
    let nowMs = 0;
    const provider = createFakeCloud({
      now: () => nowMs,
      faults: [
        { method: "create", code: "PROVIDER_CAPACITY", times: 1 },
        { method: "list", code: "PROVIDER_UNREACHABLE", fromMs: 1000, untilMs: 2000 },
      ],
    }).connect("a");
    await rejectsWithCode(provider.create(aVmRequest(), never), "PROVIDER_CAPACITY");
    await provider.create(aVmRequest(), never);
    assert.is((await provider.list(never)).length, 1);
    nowMs = 1999;
    await rejectsWithCode(provider.list(never), "PROVIDER_UNREACHABLE");
    nowMs = 2000;
    assert.is((await provider.list(never)).length, 1);
  });

  test("can lose the answer of a creation that was done", async () => {
    const cloud = createFakeCloud({ now: () => 0 });
    const provider = cloud.connect("a");
    cloud.addFault({ method: "create", code: "PROVIDER_TIMEOUT", times: 1, done: true });
    const request = aVmRequest();
    await rejectsWithCode(provider.create(request, never), "PROVIDER_TIMEOUT");
    assert.is((await provider.list(never)).length, 1);
    await provider.create(request, never);
    assert.is((await provider.list(never)).length, 1);
  });

  test("refuses what is over the quota, and takes it after a deletion", async () => {
    const provider = createFakeCloud({ now: () => 0, quota: 1 }).connect("a");
    const { id } = await provider.create(aVmRequest(), never);
    const second = aVmRequest();
    await rejectsWithCode(provider.create(second, never), "PROVIDER_QUOTA");
    await provider.delete(id, never);
    await provider.create(second, never);
  });

  test("has one VM for each client token that was created and not deleted since, in any order", async () => {
    const requests = ["a", "b", "c"].map((clientToken) => aVmRequest({ clientToken }));
    const step = fc.record({
      verb: fc.constantFrom("create", "delete"),
      request: fc.constantFrom(...requests),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const provider = createFakeCloud({ now: () => 0 }).connect("a");
        const expected = new Set<string>();
        const create = (request: VmRequest) => provider.create(request, never);
        for (const { verb, request } of steps) {
          if (verb === "create") {
            await create(request);
            expected.add(request.clientToken);
          } else {
            const vms = await provider.list(never);
            const found = vms.find((vm) => vm.clientToken === request.clientToken);
            if (found !== undefined) await provider.delete(found.id, never);
            expected.delete(request.clientToken);
          }
        }
        const vms = await provider.list(never);
        assert.equal(vms.map((vm) => vm.clientToken).toSorted(), [...expected].toSorted());
      }),
    );
  });
});
