import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { createSecretBox } from "@strata/controller/pki/secret-box";
import fc from "fast-check";

import { assert, suite, throwsWithCode } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const owner = { tenant: "default", name: "db", version: 1 };

suite("a secret box", (test) => {
  test("gives back what was put in, whatever the bytes, and never shows them", async () => {
    await using folder = aTemporaryDirectory();
    const box = createSecretBox(join(folder.path, "key"));
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 4, maxLength: 300 }), (bytes) => {
        const value = Buffer.from(bytes);
        const sealed = box.seal(owner, value);
        assert.equal(box.open(owner, sealed), value);
        assert.is.not(box.seal(owner, value), sealed, "the same value looks another way each time");
        assert.not.ok(sealed.includes(value.toString("base64url")));
      }),
      { numRuns: 50 },
    );
  });

  test("opens nothing that was changed, or put in another's place", async () => {
    await using folder = aTemporaryDirectory();
    const box = createSecretBox(join(folder.path, "key"));
    const sealed = box.seal(owner, Buffer.from("value"));
    const others = [
      { ...owner, tenant: "other" },
      { ...owner, name: "other" },
      { ...owner, version: 2 },
    ];
    for (const other of others) throwsWithCode(() => box.open(other, sealed), "SECRET_KEY_LOST");
    fc.assert(
      fc.property(
        fc.nat(sealed.length - 1),
        fc.constantFrom("A", "b", ".", "0"),
        (at, character) => {
          const changed = sealed.slice(0, at) + character + sealed.slice(at + 1);
          if (opensAlike(changed, sealed)) return;
          throwsWithCode(() => box.open(owner, changed), "SECRET_KEY_LOST");
        },
      ),
    );
    for (const text of ["", "v1", "v1....", "v2.a.b.c.d"]) {
      throwsWithCode(() => box.open(owner, text), "SECRET_KEY_LOST");
    }
  });

  test("has a key of its own in a file for root alone, and refuses one that is none", async () => {
    await using folder = aTemporaryDirectory();
    const file = join(folder.path, "key");
    const sealed = createSecretBox(file).seal(owner, Buffer.from("value"));
    assert.is(statSync(file).mode & 0o777, 0o600);
    assert.match(readFileSync(file, "utf8"), /^[0-9a-f]{64}\n$/);
    assert.is(createSecretBox(file).open(owner, sealed).toString(), "value");
    writeFileSync(file, "short\n");
    throwsWithCode(() => createSecretBox(file).open(owner, sealed), "SETTING_INVALID");
  });
});

/** Text of base64 has bits at its end that mean nothing. */
function opensAlike(changed: string, sealed: string): boolean {
  const bytes = (text: string): readonly string[] =>
    text
      .split(".")
      .map((part, index) => (index < 2 ? part : Buffer.from(part, "base64url").toString("hex")));
  return bytes(changed).join() === bytes(sealed).join();
}
