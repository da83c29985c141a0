/** The one suite that every provider passes. A fixture gives two controllers at the same far side, and the hand of an
 * operator who works on it behind the controller's back. */
import { ProviderError, providerErrorRetryable } from "@strata/controller/providers/errors";
import type { Provider, Vm, VmId, VmRequest } from "@strata/controller/providers/provider";

import { assert, rejectsWithCode, suite } from "../support/suite.ts";

export type ProviderFixture = AsyncDisposable & {
  /** A new connection of a controller that may have been there before. */
  readonly connect: (controllerId: string) => Provider;
  /** A request that this provider can fulfil, with a client token of its own each time. */
  readonly request: (changes?: Partial<VmRequest>) => VmRequest;
  /** Ends a running VM from outside: a crash, a power cut, an operator. */
  readonly killFromOutside: (id: VmId) => Promise<void>;
  /** What exists at the far side, whoever owns it; empty when nothing was left behind. */
  readonly leftovers: () => Promise<readonly string[]>;
};

export type ContractOptions = { readonly timeoutMs?: number };

export function providerContract(
  name: string,
  aFixture: () => Promise<ProviderFixture>,
  options: ContractOptions = {},
): void {
  suite(`${name} keeps the contract of a provider`, (test) => {
    const check = (title: string, body: (fixture: ProviderFixture) => Promise<void>): void =>
      test(
        title,
        async () => {
          await using fixture = await aFixture();
          await body(fixture);
        },
        options,
      );
    check("a created VM is listed and described with its tags until it is deleted", livesAndDies);
    check(
      "the same client token never makes a second VM, one after the other or at once",
      sameToken,
    );
    check("a controller that restarted finds its VMs and their tokens", restarted);
    check("the VMs of another controller are neither seen nor deleted", foreign);
    check("a VM that was killed from outside is no longer running, and is not revived", killed);
    check("what is absent is described as undefined and deleted without an error", absent);
    check("a request that no provider could make is refused and leaves nothing", unmakeable);
    check("an aborted call rejects with the signal's reason and can be called again", aborted);
  });
}

const never = new AbortController().signal;

async function livesAndDies({ connect, request, leftovers }: ProviderFixture): Promise<void> {
  const provider = connect("controller-a");
  const wanted = request({ partition: "php", labels: { team: "shop" } });
  const vm = await provider.create(wanted, never);
  assert.is(vm.clientToken, wanted.clientToken);
  assert.is(vm.partition, "php");
  assert.equal(vm.labels, { team: "shop" });

  assert.equal(tags(await provider.list(never)), [tagsOf(vm)]);
  const described = await provider.describe(vm.id, never);
  assert.ok(described !== undefined && ["creating", "running"].includes(described.state));
  assert.equal(tags([described]), [tagsOf(vm)]);

  await provider.delete(vm.id, never);
  assert.equal(await provider.list(never), []);
  assert.is(await provider.describe(vm.id, never), undefined);
  assert.equal(await leftovers(), []);
}

async function sameToken({ connect, request }: ProviderFixture): Promise<void> {
  const provider = connect("controller-a");
  const wanted = request();
  const made = await Promise.all([provider.create(wanted, never), provider.create(wanted, never)]);
  const again = await provider.create(wanted, never);
  assert.equal(new Set([...made, again].map((vm) => vm.id)).size, 1);
  assert.is((await provider.list(never)).length, 1);
  await provider.delete(again.id, never);
}

async function restarted({ connect, request }: ProviderFixture): Promise<void> {
  const vm = await connect("controller-a").create(request(), never);
  const after = connect("controller-a");
  assert.equal(tags(await after.list(never)), [tagsOf(vm)]);
  await after.delete(vm.id, never);
  assert.equal(await after.list(never), []);
}

async function foreign({ connect, request }: ProviderFixture): Promise<void> {
  const owner = connect("controller-a");
  const other = connect("controller-b");
  const vm = await owner.create(request(), never);
  assert.equal(await other.list(never), []);
  assert.is(await other.describe(vm.id, never), undefined);
  await rejectsWithCode(other.delete(vm.id, never), "PROVIDER_INVALID");
  assert.is((await owner.list(never)).length, 1);
  await owner.delete(vm.id, never);
}

async function killed({ connect, request, killFromOutside }: ProviderFixture): Promise<void> {
  const provider = connect("controller-a");
  const wanted = request();
  const vm = await provider.create(wanted, never);
  await killFromOutside(vm.id);
  const listed = (await provider.list(never)).filter((other) => other.id === vm.id);
  assert.ok(listed.every((found) => found.state === "stopped" || found.state === "failed"));
  if (listed.length > 0) {
    const again = await provider.create(wanted, never);
    assert.is(again.id, vm.id);
    assert.is.not(again.state, "running");
  }
  await provider.delete(vm.id, never);
  assert.equal(await provider.list(never), []);
}

async function absent({ connect, request }: ProviderFixture): Promise<void> {
  const provider = connect("controller-a");
  const vm = await provider.create(request(), never);
  await provider.delete(vm.id, never);
  await provider.delete(vm.id, never);
  assert.is(await provider.describe(vm.id, never), undefined);
}

async function unmakeable({ connect, request, leftovers }: ProviderFixture): Promise<void> {
  const provider = connect("controller-a");
  const good = request();
  const bad: readonly VmRequest[] = [
    { ...good, clientToken: "../../etc" },
    { ...good, clientToken: "x".repeat(41) },
    { ...good, partition: "a\nb" },
    { ...good, flavor: { ...good.flavor, memoryBytes: 0 } },
    { ...good, labels: { "security.privileged=true\n": "x" } },
    { ...good, labels: { note: "two\nlines" } },
  ];
  for (const request of bad) {
    const error = await rejectsWithCode(provider.create(request, never), "PROVIDER_INVALID");
    assert.ok(error instanceof ProviderError);
    assert.is(error.retryable, providerErrorRetryable.PROVIDER_INVALID);
  }
  assert.equal(await provider.list(never), []);
  assert.equal(await leftovers(), []);
}

async function aborted({ connect, request }: ProviderFixture): Promise<void> {
  const provider = connect("controller-a");
  const wanted = request();
  const reason = new Error("the controller stops");
  const early = AbortSignal.abort(reason);
  for (const call of [provider.create(wanted, early), provider.list(early)]) {
    assert.is(await rejectionOf(call), reason);
  }

  const during = new AbortController();
  const creation = rejectionOf(provider.create(wanted, during.signal));
  during.abort(reason);
  // A provider that answers at once may have been done before the abort reached it.
  assert.ok([reason, undefined].includes(await creation));
  const vm = await provider.create(wanted, never);
  assert.is((await provider.list(never)).length, 1);
  await provider.delete(vm.id, never);
  assert.equal(await provider.list(never), []);
}

async function rejectionOf(promise: Promise<unknown>): Promise<Error | undefined> {
  try {
    await promise;
    return undefined;
  } catch (error) {
    if (error instanceof Error) return error;
    throw error;
  }
}

function tagsOf({ id, clientToken, partition, labels }: Vm): Partial<Vm> {
  return { id, clientToken, partition, labels };
}

function tags(vms: readonly Vm[]): readonly Partial<Vm>[] {
  return vms.map(tagsOf);
}
