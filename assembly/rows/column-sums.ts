// Sums of columns over rows, in an order that does not depend on who runs the tiles: a tile adds up a fixed number of rows in their
// order, in single precision, and the sums of tiles are added in theirs, in double precision.

/** Rows of a tile: chains so short cost no digits to speak of. */
export const COLUMN_SUM_ROWS: i32 = 64;
/** Columns of a tile of `addPartials`. */
export const COLUMN_BLOCK: i32 = 256;

/**
 * Sums of x, or of x * y, over tiles [tileFrom, tileTo) of COLUMN_SUM_ROWS rows, to partials [tiles][columns].
 *
 * @param y rows of the same size; 0: ones
 */
export function columnPartials(
  x: usize, xStride: usize, y: usize, yStride: usize, rows: i32, columns: i32, partials: usize,
  scratch: usize, tileFrom: i32, tileTo: i32,
): void {
  const bytes = <usize>columns << 2;
  const whole = bytes & ~15;
  for (let tile = tileFrom; tile < tileTo; tile++) {
    const sums = partials + <usize>tile * bytes;
    memory.fill(sums, 0, bytes);
    const end = min(rows, (tile + 1) * COLUMN_SUM_ROWS);
    for (let row = tile * COLUMN_SUM_ROWS; row < end; row++) {
      const source = x + <usize>row * xStride;
      const other = y + <usize>row * yStride;
      let at: usize = 0;
      for (; at < whole; at += 16) {
        let value = v128.load(source + at);
        if (y) value = f32x4.mul(value, v128.load(other + at));
        v128.store(sums + at, f32x4.add(v128.load(sums + at), value));
      }
      for (; at < bytes; at += 4) {
        const value = load<f32>(source + at);
        store<f32>(sums + at, load<f32>(sums + at) + (y ? value * load<f32>(other + at) : value));
      }
    }
  }
}

/** Adds `count` rows of partials, `stride` bytes apart, to target: blocks [blockFrom, blockTo) of COLUMN_BLOCK columns. */
export function addPartials(
  partials: usize, stride: usize, count: i32, target: usize, columns: i32, scratch: usize, blockFrom: i32, blockTo: i32,
): void {
  const end = <usize>min(columns, blockTo * COLUMN_BLOCK) << 2;
  for (let column = <usize>(blockFrom * COLUMN_BLOCK) << 2; column < end; column += 4) {
    let sum: f64 = 0;
    let from = partials + column;
    for (let i = 0; i < count; i++, from += stride) sum += <f64>load<f32>(from);
    store<f32>(target + column, load<f32>(target + column) + <f32>sum);
  }
}
