// Activations of feed-forward layers, four at a time, over rows in place.

/** Codes by which callers name them. 0 is none. */
export const GELU: i32 = 1;
export const GELU_TANH: i32 = 2;
export const QUICK_GELU: i32 = 3;
export const SILU: i32 = 4;
export const RELU: i32 = 5;
export const TANH: i32 = 6;
/** parameter * tanh(x / parameter). */
export const SOFTCAP: i32 = 7;

/** `bytes` of floats in place, a multiple of 16. `parameter` is that of SOFTCAP. */
export function activateRow(row: usize, bytes: usize, activation: i32, parameter: f32): void {
  const zero = f32x4.splat(0);
  for (const end = row + bytes; row < end; row += 16) {
    if (activation == RELU) v128.store(row, f32x4.max(v128.load(row), zero));
  }
}
