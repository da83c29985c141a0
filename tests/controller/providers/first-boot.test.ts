import { execFileSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";

import { renderCloudConfig } from "@strata/controller/providers/cloud-init";
import { planJoin, quote, renderShellScript } from "@strata/controller/providers/first-boot";
import fc from "fast-check";
import { parse } from "yaml";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

const joining = planJoin({
  controllerUrl: "https://10.0.0.1:7070",
  caPem: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
  joinToken: "strata.t1.secretsecretsecretsecret.00ff",
});

suite("planJoin", (test) => {
  test("puts the token into a file of mode 0600 and into no command", () => {
    const token = joining.files.find((file) => file.content.includes("secretsecret"));
    assert.is(token?.mode, "0600");
    assert.not.match(joining.script, /secretsecret/);
    assert.match(joining.script, new RegExp(`--token-file ${token?.path ?? "none"} `));
  });

  test("trusts the controller's own CA alone, for the one name, at the address given", () => {
    assert.match(joining.script, /--cacert \/run\/strata-join\/ca\.pem/);
    assert.match(
      joining.script,
      /--connect-to 'controller\.strata\.internal:7070:10\.0\.0\.1:7070'/,
    );
    assert.not.match(joining.script, /--insecure|-k\b/);
  });

  test("dials an address of IPv6, and port 443 when the URL names none", () => {
    const { script } = planJoin({ controllerUrl: "https://[fd00::1]", caPem: "", joinToken: "" });
    assert.match(script, /'controller\.strata\.internal:443:\[fd00::1\]:443'/);
  });
});

suite("renderCloudConfig", (test) => {
  test("is a cloud-config that writes the files before it runs the script", () => {
    const text = renderCloudConfig(joining);
    assert.ok(text.startsWith("#cloud-config\n"));
    const document = parse(text);
    assert.equal(
      document.write_files.map((file: Record<string, string>) => [file.path, file.permissions]),
      [
        ["/run/strata-join/ca.pem", "0644"],
        ["/run/strata-join/token", "0600"],
      ],
    );
    assert.equal(document.runcmd, [["sh", "-c", joining.script]]);
  });

  test("keeps any text as it is", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (content) => {
        const files = [{ path: "/a", mode: "0600", content }];
        const document = parse(renderCloudConfig({ files, script: content }));
        assert.is(document.write_files[0].content, content);
        assert.is(document.runcmd[0][2], content);
      }),
    );
  });
});

suite("renderShellScript", (test) => {
  test("writes the files with their modes, then runs the script, under a real shell", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "a folder's/token");
    const content = "$(touch /tmp/never)`'\"\\\n\u00e9";
    const firstBoot = {
      files: [{ path, mode: "0600", content }],
      script: `cp ${quote(path)} ${quote(join(folder.path, "copy"))}`,
    };
    execFileSync("/bin/sh", { input: renderShellScript(firstBoot) });
    assert.is(readFileSync(join(folder.path, "copy"), "utf8"), content);
    assert.is(statSync(path).mode & 0o777, 0o600);
  });
});
