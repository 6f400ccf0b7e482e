// Gradients by differences in double precision, of any function: what gradients are tested against that have a formula.

/**
 * The gradient of a function of numbers at a point, by central differences of fourth order: about ten digits, for functions that are
 * smooth at the scale of `step` around the point.
 */
export function gradientByDifferences(
  value: (point: readonly number[]) => number,
  point: ArrayLike<number>,
  step = 1e-3,
): number[] {
  const at = Array.from(point);
  return at.map((own, i) => {
    const h = step * Math.max(1, Math.abs(own));
    const moved = (by: number) => {
      at[i] = own + by * h;
      const result = value(at);
      at[i] = own;
      return result;
    };
    return (8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / (12 * h);
  });
}

/** The largest difference, in parts of the largest expected number, or of 1 if they are all smaller: sums of such may cancel. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let [difference, size] = [0, 1];
  for (let i = 0; i < expected.length; i++) {
    const own = Math.abs(actual[i]! - expected[i]!);
    difference = own > difference || Number.isNaN(own) ? own : difference;
    size = Math.max(size, Math.abs(expected[i]!));
  }
  return difference / size;
}
