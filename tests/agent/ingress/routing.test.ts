import { assert, suite } from "../../support/suite.ts";
import { aRoute, aService, aState } from "../support/a-network.ts";
import { anIngress, aProcess } from "./an-ingress.ts";
import { ask, get } from "./ask.ts";

suite("routes of an ingress", (test) => {
  test("lead by host, wildcard and the longest path of whole segments", async () => {
    await using web = await aProcess("web-1");
    await using api = await aProcess("api-1");
    const services = [
      aService({ id: "web", endpoints: [web.endpoint] }),
      aService({ id: "api", endpoints: [api.endpoint] }),
    ];
    const to = (service: string) => [{ service, port: "http", weight: 1 }];
    const routes = [
      aRoute({ id: "web", hosts: ["web.test", "*.web.test"], backends: to("web") }),
      aRoute({ id: "api", hosts: ["web.test"], path: "/api/", backends: to("api") }),
      aRoute({ id: "deep", hosts: ["*.deep.web.test"], backends: to("api") }),
    ];
    await using ingress = await anIngress(aState(1, services, { routes }));
    const lead = async (host: string, path?: string): Promise<string> =>
      (await get(ingress.httpPort, host, path)).body;
    assert.is(await lead("web.test"), "web-1");
    assert.is(await lead("WEB.test:8080", "/other"), "web-1");
    assert.is(await lead("web.test", "/api"), "api-1");
    assert.is(await lead("web.test", "/api/v1?x=/"), "api-1");
    assert.is(await lead("web.test", "/apis"), "web-1");
    assert.is(await lead("a.b.web.test"), "web-1");
    assert.is(await lead("a.deep.web.test"), "api-1");
    const unknown = await get(ingress.httpPort, "nobody.test");
    assert.is(unknown.status, 404);
    assert.is(JSON.parse(unknown.body).code, "ROUTE_UNKNOWN");
    assert.match(unknown.headers["content-type"] ?? "", "application/problem+json");
  });

  test("tell processes who asked, whatever the client says of itself", async () => {
    await using web = await aProcess("web-1");
    const state = aState(1, [aService({ endpoints: [web.endpoint] })]);
    await using ingress = await anIngress(state);
    await ask(ingress.httpPort, {
      headers: {
        host: "web.test",
        "x-forwarded-for": "6.6.6.6",
        "x-forwarded-user": "root",
        forwarded: "for=6.6.6.6",
        "x-strata-route": "mine",
      },
    });
    const [asked] = web.requests;
    assert.is(asked?.headers["x-forwarded-for"], "127.0.0.1");
    assert.is(asked?.headers["x-forwarded-proto"], "http");
    assert.is(asked?.headers["x-forwarded-host"], "web.test");
    assert.is(asked?.headers["x-forwarded-user"], undefined);
    assert.is(asked?.headers.forwarded, undefined);
    assert.is(asked?.headers["x-strata-route"], "web");
  });

  test("answer 503 and when to come again while no process is ready", async () => {
    await using ingress = await anIngress(aState(1, [aService({ endpoints: [] })]));
    const { status, headers, body } = await get(ingress.httpPort, "web.test");
    assert.is(status, 503);
    assert.is(headers["retry-after"], "1");
    assert.is(JSON.parse(body).code, "NO_PROCESS_READY");
  });

  test("answer challenges of a certificate authority for any host", async () => {
    const challenges = [{ token: "to-ken_1", answer: "to-ken_1.thumb-print" }];
    await using ingress = await anIngress(aState(1, [], { challenges }));
    const path = "/.well-known/acme-challenge/to-ken_1";
    const { status, body } = await get(ingress.httpPort, "new.test", path);
    assert.is(status, 200);
    assert.is(body, "to-ken_1.thumb-print");
  });
});
