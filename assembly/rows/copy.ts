// Elements of a tensor with any strides, in order of its shape: copied, or joined with what lies there already.
//
//   target   [outer axes][rows][columns], columns one after the other
//   tile     COPY_ROWS x COPY_COLUMNS of the rows and columns at one place of the outer axes
//
// Where neighbours in the source are neighbours along the rows of the target, four by four elements are transposed at a time.

/** Rows and columns of a tile: 64 kB of floats. Of 4 to 64 rows 8 transpose fastest. */
export const COPY_ROWS: i32 = 8;
export const COPY_COLUMNS: i32 = 2048;
/** The largest float: where sums of finite ones end. */
const LARGEST: f32 = 3.4028234663852886e38;

/**
 * Tiles [tileFrom, tileTo) of ceil(columns / COPY_COLUMNS) x ceil(rows / COPY_ROWS) x the outer axes, in this order. Strides are
 * bytes.
 *
 * @param axes         outer axes, the fastest first: i32 length, stride of the source, stride of the target
 * @param elementBytes 1 or 4
 * @param joins        false copies; true joins masks: the smaller byte, or the sum of floats as `sumOf` has it
 * @param scratch      COPY_COLUMNS floats, where it joins
 */
export function copyElements(
  source: usize, columnStride: usize, rowStride: usize, target: usize, targetRowStride: usize, rows: i32, columns: i32,
  axes: usize, axisCount: i32, elementBytes: i32, joins: bool, scratch: usize, tileFrom: i32, tileTo: i32,
): void {
  const columnBlocks = (columns + COPY_COLUMNS - 1) / COPY_COLUMNS;
  const rowBlocks = (rows + COPY_ROWS - 1) / COPY_ROWS;
  const axesEnd = axes + <usize>(axisCount * 12);
  for (let tile = tileFrom; tile < tileTo; tile++) {
    const column = (tile % columnBlocks) * COPY_COLUMNS;
    let rest = tile / columnBlocks;
    let row = (rest % rowBlocks) * COPY_ROWS;
    rest /= rowBlocks;
    let from = source + <usize>column * columnStride + <usize>row * rowStride;
    let to = target + <usize>(column * elementBytes) + <usize>row * targetRowStride;
    for (let axis = axes; axis < axesEnd; axis += 12) {
      const length = load<i32>(axis);
      const step = <usize>(rest % length);
      rest /= length;
      from += step * load<usize>(axis, 4);
      to += step * load<usize>(axis, 8);
    }
    const count = min(columns - column, COPY_COLUMNS);
    const bytes = <usize>(count * elementBytes);
    const end = min(rows, row + COPY_ROWS);
    if (elementBytes == 4 && rowStride == 4 && columnStride != 4 && !joins) {
      const whole = (end - row) & ~3;
      transpose(from, columnStride, to, targetRowStride, whole, count);
      from += <usize>whole << 2;
      to += <usize>whole * targetRowStride;
      row += whole;
    }
    for (; row < end; row++) {
      const place = joins ? scratch : to;
      let line = from;
      if (columnStride != <usize>elementBytes) {
        gather(from, columnStride, place, bytes, elementBytes);
        line = place;
      }
      if (joins) join(to, line, bytes, elementBytes);
      else if (line == from) memory.copy(to, from, bytes);
      from += rowStride;
      to += targetRowStride;
    }
  }
}

function gather(from: usize, stride: usize, to: usize, bytes: usize, elementBytes: i32): void {
  const end = to + bytes;
  if (elementBytes == 4) {
    for (; to < end; to += 4, from += stride) store<u32>(to, load<u32>(from));
  } else {
    for (; to < end; to++, from += stride) store<u8>(to, load<u8>(from));
  }
}

/** `rows`, a multiple of 4, whose elements of a column lie beside each other. */
function transpose(source: usize, columnStride: usize, target: usize, rowStride: usize, rows: i32, columns: i32): void {
  for (; columns >= 4; columns -= 4, source += 4 * columnStride, target += 16) {
    let to = target;
    for (let from = source; from < source + (<usize>rows << 2); from += 16) {
      const a = v128.load(from);
      const b = v128.load(from + columnStride);
      const c = v128.load(from + 2 * columnStride);
      const d = v128.load(from + 3 * columnStride);
      const abLow = v128.shuffle<f32>(a, b, 0, 4, 1, 5);
      const abHigh = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
      const cdLow = v128.shuffle<f32>(c, d, 0, 4, 1, 5);
      const cdHigh = v128.shuffle<f32>(c, d, 2, 6, 3, 7);
      v128.store(to, v128.shuffle<f64>(abLow, cdLow, 0, 2));
      v128.store(to + rowStride, v128.shuffle<f64>(abLow, cdLow, 1, 3));
      v128.store(to + 2 * rowStride, v128.shuffle<f64>(abHigh, cdHigh, 0, 2));
      v128.store(to + 3 * rowStride, v128.shuffle<f64>(abHigh, cdHigh, 1, 3));
      to += 4 * rowStride;
    }
  }
  for (; columns > 0; columns--, source += columnStride, target += 4) {
    let to = target;
    for (let from = source; from < source + (<usize>rows << 2); from += 4, to += rowStride) store<u32>(to, load<u32>(from));
  }
}

function join(to: usize, from: usize, bytes: usize, elementBytes: i32): void {
  const whole = to + (bytes & ~15);
  const end = to + bytes;
  if (elementBytes == 4) {
    for (; to < whole; to += 16, from += 16) v128.store(to, sumOf(v128.load(to), v128.load(from)));
    for (; to < end; to += 4, from += 4) v128.store32_lane(to, sumOf(v128.load32_splat(to), v128.load32_splat(from)), 0);
  } else {
    for (; to < whole; to += 16, from += 16) v128.store(to, i8x16.min_u(v128.load(to), v128.load(from)));
    for (; to < end; to++, from++) store<u8>(to, min(load<u8>(to), load<u8>(from)));
  }
}

/** -Infinity removes, whatever is added to it; the sum of two finite values is finite. */
// @ts-ignore: decorator
@inline
function sumOf(a: v128, b: v128): v128 {
  const infinity = f32x4.splat(Infinity);
  const sum = f32x4.add(a, b);
  const bounded = f32x4.pmax(f32x4.pmin(sum, f32x4.splat(LARGEST)), f32x4.splat(-LARGEST));
  const isInfinite = v128.or(f32x4.eq(a, infinity), f32x4.eq(b, infinity));
  const isRemoved = v128.or(f32x4.eq(a, f32x4.neg(infinity)), f32x4.eq(b, f32x4.neg(infinity)));
  return v128.bitselect(f32x4.neg(infinity), v128.bitselect(sum, bounded, isInfinite), isRemoved);
}
