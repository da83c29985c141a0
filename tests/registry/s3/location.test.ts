import { parseS3Location } from "@strata/registry/drivers/s3/location";

import { assert, suite, throwsWithCode } from "../../support/suite.ts";

suite("an address of a bucket", (test) => {
  test("names the bucket, and all else may be left out", () => {
    const { bucket, prefix, endpoint } = parseS3Location("s3://my.bucket-1");
    assert.equal([bucket, prefix, endpoint], ["my.bucket-1", "", undefined]);
  });

  test("has a prefix, an endpoint and a region", () => {
    const text = "s3://b-1/a/b/?endpoint=https://s3.example.org:9000&region=eu-west-1";
    assert.equal(parseS3Location(text), {
      bucket: "b-1",
      prefix: "a/b/",
      endpoint: "https://s3.example.org:9000/",
      region: "eu-west-1",
    });
  });

  test("is refused when it is none, with an example", () => {
    const wrong = [
      "",
      "/var/lib/blobs",
      "https://bucket",
      "s3:bucket",
      "s3://",
      "s3://Bucket",
      "s3://b",
      "s3://bucket:80",
      "s3://bucket/a b",
      "s3://bucket/a%2fb",
      `s3://bucket/${"a".repeat(600)}`,
      "s3://bucket?region=EU WEST",
      "s3://bucket?endpoint=ftp://host",
      "s3://bucket?endpoint=https://user:secret@host",
      "s3://bucket?endpoint=host",
      "s3://bucket?acl=public",
    ];
    for (const text of wrong) {
      const error = throwsWithCode(() => parseS3Location(text), "INVALID");
      assert.match(String("hint" in error ? error.hint : ""), /s3:\/\/BUCKET/, text);
    }
  });

  test("holds no credentials, and an error does not repeat them", () => {
    const error = throwsWithCode(() => parseS3Location("s3://key:secret@bucket"), "INVALID");
    assert.not.match(error.message, /secret/);
    assert.match(String("hint" in error ? error.hint : ""), /AWS_ACCESS_KEY_ID/);
  });
});
