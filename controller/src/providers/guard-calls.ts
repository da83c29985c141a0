import { withDeadline } from "./deadline.ts";
import { createOneAtATime } from "./one-at-a-time.ts";
import { type Provider, requireMakeable } from "./provider.ts";

/** Gives a plain provider what `Provider` promises of every call: a request that no provider could make is refused
 * before anything is touched, a call ends at its deadline, and creations and deletions of one VM run one after the other. */
export function guardCalls(plain: Provider, timeoutMs: number): Provider {
  const oneAtATime = createOneAtATime();
  return {
    create: async (request, signal) => {
      requireMakeable(request);
      const name = request.clientToken;
      return withDeadline({ signal, timeoutMs, what: `creation of ${name}` }, (limited) =>
        oneAtATime(name, () => plain.create(request, limited)),
      );
    },
    delete: (id, signal) =>
      withDeadline({ signal, timeoutMs, what: `deletion of ${id}` }, (limited) =>
        oneAtATime(id, () => plain.delete(id, limited)),
      ),
    list: (signal) =>
      withDeadline({ signal, timeoutMs, what: "list of VMs" }, (limited) => plain.list(limited)),
    describe: (id, signal) =>
      withDeadline({ signal, timeoutMs, what: `description of ${id}` }, (limited) =>
        plain.describe(id, limited),
      ),
  };
}
