/** A power of two. */
export const WIDTH: i32 = 1 << 4;
export const ROW_BYTES: usize = <usize>WIDTH * sizeof<f32>();
const HIDDEN: i32 = 7;

/** What a call of `blur` is. */
@unmanaged
export class BlurParameters {
  x: usize;
  /** Of the kernel. */
  radius: f32;
  rows: i32;
}

/**
 * Blurs rows.
 *
 * @param scratch ROW_BYTES
 */
export function blur(parameters: usize, inPlace: bool, scratch: usize, rowFrom: i32, rowTo: i32): void {
  store<i32>(scratch, HIDDEN);
}
