/** Which image a subscription that follows its repository runs next. Pure. */

/** How the newest roll-out of an image to the subscription ended, or that it goes on. */
export type Trial = { readonly digest: string; readonly hasFailed: boolean };

/** Images of which the last word was that they failed. `trials` are in the order of their generations. */
export function failedDigests(trials: readonly Trial[]): ReadonlySet<string> {
  const verdicts = new Map(trials.map(({ digest, hasFailed }) => [digest, hasFailed]));
  return new Set([...verdicts].flatMap(([digest, hasFailed]) => (hasFailed ? [digest] : [])));
}

/** The images to be tried, best first: the newest that did not fail here. `newestFirst` may name one several times. */
export function candidateImages(
  newestFirst: readonly string[],
  failed: ReadonlySet<string>,
): readonly string[] {
  return [...new Set(newestFirst)].filter((digest) => !failed.has(digest));
}
