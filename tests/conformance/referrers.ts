import { mediaTypes } from "@strata/protocol/oci/media-type";

import type { Client } from "../support/registry-client.ts";
import { assert } from "../support/suite.ts";
import type { DataSet, Entry } from "./data-sets.ts";

export type Referrer = {
  readonly digest: string;
  readonly mediaType: string;
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
};

/** end-12a, end-12b: every subject lists all its referrers, and by type those alone. */
export async function checkReferrers(client: Client, { entries }: DataSet): Promise<void> {
  const subjects = new Set(entries.flatMap(({ subject }) => subject ?? []));
  for (const subject of subjects) {
    const expected = entries.filter((entry) => entry.subject === subject).map(expectReferrer);
    assert.equal(await listReferrers(client, subject), sortByDigest(expected));
    for (const { artifactType } of expected) {
      if (artifactType === undefined) continue;
      assert.equal(
        await listReferrers(client, subject, artifactType),
        sortByDigest(expected.filter((entry) => entry.artifactType === artifactType)),
      );
    }
  }
}

async function listReferrers(
  client: Client,
  subject: string,
  artifactType?: string,
): Promise<readonly Referrer[]> {
  const filter =
    artifactType === undefined ? "" : `?artifactType=${encodeURIComponent(artifactType)}`;
  const answer = await client.send("GET", `/v2/repo1/referrers/${subject}${filter}`);
  assert.is(answer.status, 200);
  assert.is(answer.headers["content-type"], mediaTypes.index);
  assert.is(answer.headers["oci-filters-applied"], filter === "" ? undefined : "artifactType");
  return parseReferrers(answer.body);
}

export function parseReferrers(body: Buffer): readonly Referrer[] {
  const index = JSON.parse(body.toString()) as {
    readonly schemaVersion: number;
    readonly mediaType: string;
    readonly manifests: readonly Referrer[];
  };
  assert.is(index.schemaVersion, 2);
  assert.is(index.mediaType, mediaTypes.index);
  return index.manifests;
}

/** What the list must say about a manifest: image-spec v1.1, "Guidelines for Artifact Usage". */
function expectReferrer({ manifest }: Entry): Referrer {
  const fields = parseManifest(manifest.bytes);
  const artifactType = fields.artifactType ?? fields.config?.mediaType;
  return {
    mediaType: manifest.mediaType,
    digest: manifest.digest,
    size: manifest.bytes.length,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(fields.annotations === undefined ? {} : { annotations: fields.annotations }),
  };
}

type Fields = Pick<Referrer, "artifactType" | "annotations"> & {
  readonly config?: { readonly mediaType: string };
};

function parseManifest(bytes: Buffer): Fields {
  return JSON.parse(bytes.toString()) as Fields;
}

function sortByDigest(referrers: readonly Referrer[]): readonly Referrer[] {
  return referrers.toSorted((a, b) => (a.digest < b.digest ? -1 : 1));
}
