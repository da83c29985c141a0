import { createProvider, ProviderSettings } from "@strata/controller/providers/create-provider";

import { aVmRequest } from "../../support/machines/vm-request.ts";
import { assert, rejectsWithCode, suite } from "../../support/suite.ts";

const context = { controllerId: "controller-a", vmFolder: "/var/lib/strata/vms" };
const never = new AbortController().signal;

suite("createProvider", (test) => {
  test("makes a provider of each kind from the settings that a person writes", () => {
    const settings = [
      { kind: "static" },
      { kind: "exec", command: ["/bin/true"] },
      { kind: "incus", endpoint: "unix:/var/lib/lxd/unix.socket", network: "lxdbr0" },
      { kind: "qemu", images: { debian: { disk: "/srv/debian.qcow2", format: "qcow2" } } },
    ];
    for (const written of settings) {
      const provider = createProvider(ProviderSettings.parse(written), context);
      assert.type(provider.create, "function");
    }
  });

  test("gives the kind that was asked for", async () => {
    const provider = createProvider(ProviderSettings.parse({ kind: "static" }), context);
    await rejectsWithCode(provider.create(aVmRequest(), never), "PROVIDER_INVALID");
  });

  const refused: readonly (readonly [string, unknown])[] = [
    ["an unknown kind", { kind: "fake" }],
    ["an unknown key", { kind: "static", color: "red" }],
    ["a program without an absolute path", { kind: "exec", command: ["terraform"] }],
    ["a NUL in an argument", { kind: "exec", command: ["/bin/true", "a\0b"] }],
    ["an endpoint in the clear", { kind: "incus", endpoint: "http://10.0.0.1:8443", network: "n" }],
    [
      "a privileged VM",
      {
        kind: "incus",
        endpoint: "unix:/s",
        network: "n",
        instances: "virtual-machine",
        privileged: true,
      },
    ],
    ["exec in a VM", { kind: "incus", endpoint: "unix:/s", network: "n", firstBoot: "exec" }],
    ["a comma in a disk's path", { kind: "qemu", images: { a: { disk: "/a,b", format: "raw" } } }],
    ["a bridge that is no interface's name", { kind: "qemu", images: {}, bridge: "a b" }],
    ["a time of no length", { kind: "exec", command: ["/bin/true"], timeout: 0 }],
  ];
  for (const [what, written] of refused) {
    test(`refuses ${what}`, () => {
      assert.not.ok(ProviderSettings.safeParse(written).success);
    });
  }
});
