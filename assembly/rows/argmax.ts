// The place of the largest number of a row: of equal ones the first; NaN is larger than all others.

/** Rows [rowFrom, rowTo) of `columns` floats, `stride` bytes apart; y has an integer for each. */
export function argmaxRows(x: usize, stride: usize, columns: i32, y: usize, scratch: usize, rowFrom: i32, rowTo: i32): void {
  for (let row = rowFrom; row < rowTo; row++) {
    store<i32>(y + (<usize>row << 2), placeOfLargest(x + <usize>row * stride, <usize>columns << 2));
  }
}

function placeOfLargest(x: usize, bytes: usize): i32 {
  const end = x + bytes;
  const whole = x + (bytes & ~15);
  let most = f32x4.splat(-Infinity);
  let ordered = i32x4.splat(-1);
  let at = x;
  for (; at < whole; at += 16) {
    const four = v128.load(at);
    most = f32x4.pmax(most, four);
    ordered = v128.and(ordered, f32x4.eq(four, four));
  }
  for (; at < end; at += 4) {
    const one = v128.load32_splat(at);
    most = f32x4.pmax(most, one);
    ordered = v128.and(ordered, f32x4.eq(one, one));
  }
  if (!i32x4.all_true(ordered)) return firstPlace(x, whole, end, 0, true);
  const pairs = f32x4.pmax(most, v128.shuffle<f32>(most, most, 2, 3, 0, 1));
  const largest = f32x4.pmax(pairs, v128.shuffle<f32>(pairs, pairs, 1, 0, 3, 2));
  return firstPlace(x, whole, end, f32x4.extract_lane(largest, 0), false);
}

/** The first place of a number, or of NaN. */
function firstPlace(x: usize, whole: usize, end: usize, wanted: f32, isNaN: bool): i32 {
  const number = f32x4.splat(wanted);
  let at = x;
  for (; at < whole; at += 16) {
    const four = v128.load(at);
    if (v128.any_true(isNaN ? f32x4.ne(four, four) : f32x4.eq(four, number))) break;
  }
  for (; at < end; at += 4) {
    const one = load<f32>(at);
    if (isNaN ? one != one : one == wanted) break;
  }
  return <i32>((at - x) >> 2);
}
