import { ProviderError } from "@strata/controller/providers/errors";
import { parseVmId } from "@strata/controller/providers/provider";
import { createStaticProvider } from "@strata/controller/providers/static";

import { aVmRequest } from "../../support/machines/vm-request.ts";
import { assert, rejectsWithCode, suite } from "../../support/suite.ts";

const never = new AbortController().signal;

suite("the static provider", (test) => {
  test("refuses to make a VM and says how a node joins", async () => {
    const creation = createStaticProvider().create(aVmRequest({ partition: "php" }), never);
    const error = await rejectsWithCode(creation, "PROVIDER_INVALID");
    assert.ok(error instanceof ProviderError);
    assert.is(error.retryable, false);
    assert.match(error.hint ?? "", /POST \/v1\/join-tokens \{"partition": "php"\}/);
  });

  test("has no VMs, and deletes what is absent", async () => {
    const provider = createStaticProvider();
    assert.equal(await provider.list(never), []);
    assert.is(await provider.describe(parseVmId("web-1"), never), undefined);
    await provider.delete(parseVmId("web-1"), never);
  });
});
