import { randomBytes } from "node:crypto";

import { createPasswordChecker, hashPassword } from "@strata/registry/auth/password";
import { readScope } from "@strata/registry/auth/scope";
import { parseUsers } from "@strata/registry/auth/users";
import fc from "fast-check";

import { assert, suite, throwsWithCode } from "../support/suite.ts";

suite("scopes", (test) => {
  test("never name an action that was not asked for, nor another repository", () => {
    const word = fc.constantFrom("repository", "registry", "pull", "push", "delete", "*", ",", ":");
    const text = fc
      .array(fc.oneof(word, fc.constantFrom("a", "a/b", "catalog", "..", "A")))
      .map((parts) => parts.join(""));
    fc.assert(
      fc.property(text, (scope) => {
        const access = readScope(scope);
        if (access === undefined) return;
        assert.ok(scope.includes(`:${access.name}:`));
        for (const action of access.actions) {
          assert.ok(action === "list" || scope.includes("*") || scope.includes(action));
        }
      }),
    );
  });

  test("a star asks for everything that can be done to a repository", () => {
    assert.equal(readScope("repository:a/b:*")?.actions, ["pull", "push", "delete"]);
    assert.equal(readScope("repository(plugin):a:pull")?.actions, ["pull"]);
    for (const wrong of ["", "repository:a", "repository:A:pull", "registry:other:*", "x:a:pull"]) {
      assert.is(readScope(wrong), undefined);
    }
  });
});

suite("users", (test) => {
  test("a file that cannot be used says what is wrong where", () => {
    const bad = [
      "{",
      `{"users":{"anonymous":{"rights":[]}}}`,
      `{"users":{"a b":{"rights":[]}}}`,
      `{"users":{"a":{"rights":[],"password":"plain"}}}`,
      `{"users":{"a":{"rights":[{"repositories":[],"actions":["pull"]}]}}}`,
      `{"users":{"a":{"rights":[{"repositories":["x"],"actions":["fly"]}]}}}`,
      `{"users":{},"more":1}`,
    ];
    for (const text of bad) throwsWithCode(() => parseUsers(text), "USERS_INVALID");
  });

  test(
    "too many passwords at once are refused, and the others are answered",
    async () => {
      const passwords = createPasswordChecker({ clock: () => 0, key: randomBytes(32) });
      const stored = await hashPassword("right", randomBytes(16));
      const guesses = Array.from({ length: 40 }, (_, index) => `guess ${index}`);
      const results = await Promise.allSettled(
        guesses.map((guess) => passwords.matches(guess, stored)),
      );
      const refused = results.filter(({ status }) => status === "rejected").length;
      assert.is(refused, 40 - 34);
      assert.ok(results.every((result) => result.status === "rejected" || !result.value));
      // A hundred of the same are one.
      const same = guesses.map(() => passwords.matches("right", stored));
      assert.ok((await Promise.all(same)).every((right) => right));
    },
    { timeoutMs: 120_000 },
  );
});
