/** The wished count, brought within the bounds of its scaling policy if it has one. */
export function clampProcesses(
  count: number,
  policy: { readonly min: number; readonly max: number } | undefined,
): number {
  return policy === undefined ? count : Math.min(policy.max, Math.max(policy.min, count));
}
