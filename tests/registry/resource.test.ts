import { isRepository } from "@strata/protocol/oci/reference";
import { parseResource, type Resource } from "@strata/registry/resource";
import fc from "fast-check";

import { assert, suite, throwsWithCode } from "../support/suite.ts";

const component = fc.stringMatching(/^[a-z0-9]{1,4}([._-][a-z0-9]{1,3})?$/);
/** Also the fixed words of the paths: they are names like any other. */
const words = fc.constantFrom("blobs", "uploads", "manifests", "tags", "list", "referrers", "v2");
const repositories = fc
  .array(fc.oneof(component, words), { minLength: 1, maxLength: 5 })
  .map((parts) => parts.join("/"))
  .filter(isRepository);

suite("parseResource", (test) => {
  test("finds the repository, whatever words it is made of", () => {
    fc.assert(
      fc.property(repositories, (repository) => {
        const expected: readonly [string, Resource][] = [
          ["tags/list", { kind: "tags", repository }],
          ["manifests/x", { kind: "manifest", repository, reference: "x" }],
          ["referrers/x", { kind: "referrers", repository, digest: "x" }],
          ["blobs/sha256:x", { kind: "blob", repository, digest: "sha256:x" }],
          ["blobs/uploads/", { kind: "uploads", repository }],
          ["blobs/uploads", { kind: "uploads", repository }],
          ["blobs/uploads/id", { kind: "upload", repository, uploadId: "id" }],
        ];
        for (const [rest, resource] of expected) {
          assert.equal(parseResource(`/v2/${repository}/${rest}`), resource);
        }
      }),
    );
  });

  test("decodes once, and takes no encoded slash for a separator", () => {
    assert.equal(parseResource("/v2/a/blobs/sha256%3Ax"), {
      kind: "blob",
      repository: "a",
      digest: "sha256:x",
    });
    for (const name of [
      "a%2fb",
      "a%252fb",
      "a%00",
      "%2e%2e",
      "a%5cb",
      "%ff",
      "%",
      "A",
      "a//b",
      "",
      "a%2f",
    ]) {
      throwsWithCode(() => parseResource(`/v2/${name}/tags/list`), "NAME_INVALID");
    }
  });

  test("refuses a name longer than 255", () => {
    assert.is(parseResource(`/v2/${"a".repeat(255)}/tags/list`)?.kind, "tags");
    throwsWithCode(() => parseResource(`/v2/${"a".repeat(256)}/tags/list`), "NAME_INVALID");
  });

  test("knows nothing else", () => {
    for (const path of ["/", "/v1/", "/v2/x", "/v2/x/tags", "/v2/x/tags/lists", "/v2/_catalog/x"]) {
      assert.is(parseResource(path), undefined, path);
    }
    assert.equal(parseResource("/v2"), { kind: "base" });
    assert.equal(parseResource("/v2/_catalog"), { kind: "catalog" });
  });
});
