/** Reads what a test file printed. Pure. */

export type Counts = {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
};

export type FileEnd = { readonly output: string; readonly exitCode: number | null };

export const noCounts: Counts = { passed: 0, failed: 0, skipped: 0 };

/** Counts of one finished test file. A file that crashed, hung, or ran no test at all counts as one failure more:
 * silence is not success. */
export function countTests({ output, exitCode }: FileEnd): Counts {
  const total = sumOf(output, "Total");
  const passed = sumOf(output, "Passed");
  const skipped = sumOf(output, "Skipped");
  const failed = total - passed;
  const ended = exitCode === 0 ? failed === 0 && total + skipped > 0 : failed > 0;
  return { passed, failed: ended ? failed : failed + 1, skipped };
}

export function addCounts(left: Counts, right: Counts): Counts {
  return {
    passed: left.passed + right.passed,
    failed: left.failed + right.failed,
    skipped: left.skipped + right.skipped,
  };
}

/** The last line of a test run; other programs read it. */
export function summaryLine({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}

/** uvu prints one block of figures for each suite. */
function sumOf(output: string, label: string): number {
  return [...output.matchAll(new RegExp(`^ *${label}: +(\\d+)$`, "gm"))].reduce(
    (sum, [, count = "0"]) => sum + Number(count),
    0,
  );
}
