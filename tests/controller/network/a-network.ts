/** A controller with subscriptions that have a port, and agents that ask for the network. */
import { NetworkReport, NetworkTable } from "@strata/protocol/agent/network";

import { aController, type Answer, type TestController } from "../../support/controller.ts";
import { aFakeAgent, type FakeAgent } from "../../support/fake-agent.ts";

export type NetworkScene = AsyncDisposable & {
  readonly controller: TestController;
  readonly agent: FakeAgent;
  readonly put: (path: string, body: object) => Promise<Answer>;
  /** Asks for what is new; undefined when nothing is. Without `agent` as the scene's. */
  readonly ask: (
    known?: { readonly boot?: string; readonly revision?: number; readonly wait?: string },
    agent?: FakeAgent,
  ) => Promise<NetworkTable | undefined>;
  readonly report: (report: Partial<NetworkReport>, agent?: FakeAgent) => Promise<Answer>;
  /** The agents run what they are told, with their ports published. */
  readonly run: (...agents: readonly FakeAgent[]) => Promise<void>;
};

/** A partition `web` whose nodes let requests in, a node, and the subscription `hi` of the cartridge `hello`. */
export async function aNetworkScene(
  options: Parameters<typeof aController>[0] = {},
): Promise<NetworkScene> {
  const controller = await aController(options);
  const put: NetworkScene["put"] = async (path, body) => {
    const answer = await controller.call("PUT", path, { body });
    if (answer.status > 201) throw new Error(`${path}: ${JSON.stringify(answer.body)}`);
    return answer;
  };
  await put("/v1/partitions/web", { roles: ["ingress"] });
  const ports = [{ name: "http", containerPort: 80 }];
  await put("/v1/cartridges/hello", { image: "hello:1", partition: "web", ports });
  await put("/v1/subscriptions/hi", { cartridge: "hello", processes: 2 });
  const agent = await aFakeAgent(controller);
  const run: NetworkScene["run"] = async (...agents) => {
    controller.settle();
    for (const one of agents.length === 0 ? [agent] : agents) {
      let port = 20_000;
      await one.work(({ spec }) => ({
        address: "10.0.3.7",
        ports: spec.ports.map((wanted) => ({ ...wanted, hostPort: (port += 1) })),
      }));
    }
    controller.settle();
  };
  await run();
  return {
    controller,
    agent,
    put,
    run,
    ask: async ({ boot = "", revision = 0, wait = "0s" } = {}, one = agent) => {
      const path = `/v1/nodes/${one.nodeId}/network?boot=${boot}&revision=${revision}&wait=${wait}`;
      const answer = await controller.call("GET", path, { token: one.credential });
      if (answer.status === 204) return undefined;
      if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
      return NetworkTable.parse(answer.body);
    },
    report: (report, one = agent) =>
      controller.call("POST", `/v1/nodes/${one.nodeId}/network`, {
        token: one.credential,
        body: NetworkReport.parse({
          bootId: "traffic-1",
          boot: "",
          revision: 0,
          problems: [],
          endpoints: [],
          services: [],
          ...report,
        }),
      }),
    [Symbol.asyncDispose]: () => controller[Symbol.asyncDispose](),
  };
}
