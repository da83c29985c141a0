import { formatBytes } from "@strata/protocol/format-bytes";

import type { GarbageReport } from "../collect-garbage.ts";
import type { FsckReport } from "../fsck.ts";
import type { ScrubReport } from "../scrub.ts";
import type { JobReport } from "./job.ts";

/** Lines for a person. */
export function describeJob(job: JobReport): readonly string[] {
  return job.kind === "gc" ? describeGarbage(job.report) : describeScrub(job.report);
}

function describeGarbage(report: GarbageReport): readonly string[] {
  const { dryRun, removed, tags, manifests, blobs, bytes, repositories, aborted } = report;
  const verb = dryRun ? "would go" : "gone";
  const named = removed.map(
    ({ repository, kind, name, sizeBytes }) =>
      `${kind} ${repository}${kind === "tag" ? ":" : "@"}${name} ${formatBytes(sizeBytes)}B`,
  );
  const more = tags + manifests + blobs - removed.length;
  return [
    ...named,
    ...(more > 0 ? [`… and ${more} more`] : []),
    `${verb}: ${tags} tags, ${manifests} manifests, ${blobs} blobs, ${formatBytes(bytes)}B, in ${repositories} repositories`,
    ...(aborted ? ["interrupted: the rest waits for the next time"] : []),
  ];
}

function describeScrub(report: ScrubReport): readonly string[] {
  const { blobs, bytes, corrupt, repaired, lost, complete } = report;
  return [
    ...corrupt.map((digest) => `corrupt ${digest}`),
    ...repaired.map((digest) => `repaired ${digest}`),
    ...lost.map((digest) => `lost ${digest}`),
    `${blobs} blobs read, ${formatBytes(bytes)}B: ${corrupt.length} corrupt, ${repaired.length} repaired, ${lost.length} lost`,
    ...(complete ? [] : ["not all was read: the next one goes on there"]),
  ];
}

export function describeFsck(report: FsckReport): readonly string[] {
  const { blobs, lost, restored, unnamed } = report;
  return [
    `${blobs} blobs known, ${lost.length} lost, ${restored.length} restored, ${unnamed} unnamed`,
    ...lost.map((digest) => `lost ${digest}`),
  ];
}
