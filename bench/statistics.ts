/** The middle value; the mean of the two middle ones when there is an even number. NaN for none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length % 2 === 1) return sorted[middle];
  return ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2;
}

/** Medians of paired ratios: each round's value against the other's of the same round. */
export function pairedRatio(
  values: ReadonlyMap<number, number>,
  base: ReadonlyMap<number, number>,
): number | undefined {
  const ratios: number[] = [];
  for (const [round, value] of values) {
    const other = base.get(round);
    if (other !== undefined) ratios.push(value / other);
  }
  return ratios.length > 0 ? median(ratios) : undefined;
}
