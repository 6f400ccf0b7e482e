// e^x in float64 from basic operations, which every engine rounds alike; the engines' own functions differ in the last bit.

/** ln 2 in two parts, the first of which has 32 bits. */
const LN_2_HIGH = 0.6931471803691238;
const LN_2_LOW = 1.9082149292705877e-10;

/** 2^n, whose exponent is written to it. */
const power = /* @__PURE__ */ new DataView(/* @__PURE__ */ new ArrayBuffer(8));

/**
 * e^x for x <= 0, relative error below 1e-12; 0 below -700.
 *
 * |r| <= ln 2 / 2: the first term left out is r^11 / 11!, below 3e-13.
 */
export function exponential(x: number): number {
  if (x < -700) return 0;
  const n = Math.floor(x * Math.LOG2E + 0.5);
  const r = x - n * LN_2_HIGH - n * LN_2_LOW;
  let series = 1 / 3628800;
  series = series * r + 1 / 362880;
  series = series * r + 1 / 40320;
  series = series * r + 1 / 5040;
  series = series * r + 1 / 720;
  series = series * r + 1 / 120;
  series = series * r + 1 / 24;
  series = series * r + 1 / 6;
  series = series * r + 0.5;
  series = series * r + 1;
  series = series * r + 1;
  power.setInt32(0, (n + 1023) << 20);
  return series * power.getFloat64(0);
}
