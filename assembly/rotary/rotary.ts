// Rotary position embedding, in place: pairs of channels are turned by an angle that grows with the position.
//
//   (a, b) -> (a cos - b sin, a sin + b cos)
//
//   half-split     pair i = channels i and i + half              interleaved     pair i = channels 2i and 2i + 1
//
// cos and sin come from tables [positions][half]. No multiply-add is fused, in any build: bits do not depend on it.

/**
 * Rows [rowFrom, rowTo) of batch x length, all heads of each. `scratch` stands for that of other kernels: none is needed.
 *
 * @param x         [batch, heads, length, >= 2 * half] by strides in bytes
 * @param positions i32 rows of the tables, [batch][length] (or [length], with a batch stride of 0)
 * @param half      pairs; channels beyond 2 * half stay as they are
 */
export function rotary(
  x: usize, batchStride: usize, headStride: usize, rowStride: usize, heads: i32, length: i32,
  positions: usize, positionsBatchStride: usize, cos: usize, sin: usize, half: i32, interleaved: bool,
  scratch: usize, rowFrom: i32, rowTo: i32,
): void {
  const tableRow = <usize>half << 2;
  for (let index = rowFrom; index < rowTo; index++) {
    const b = index / length;
    const i = index % length;
    const position = <usize>load<i32>(positions + <usize>b * positionsBatchStride + (<usize>i << 2));
    let row = x + <usize>b * batchStride + <usize>i * rowStride;
    for (let head = 0; head < heads; head++) {
      if (interleaved) turnInterleaved(row, cos + position * tableRow, sin + position * tableRow, half);
      else turnHalves(row, cos + position * tableRow, sin + position * tableRow, half);
      row += headStride;
    }
  }
}

export function turnHalves(x: usize, cos: usize, sin: usize, half: i32): void {
  let y = x + (<usize>half << 2);
  let i = 0;
  for (; i + 4 <= half; i += 4) {
    const a = v128.load(x);
    const b = v128.load(y);
    const c = v128.load(cos);
    const s = v128.load(sin);
    v128.store(x, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)));
    v128.store(y, f32x4.add(f32x4.mul(a, s), f32x4.mul(b, c)));
    x += 16;
    y += 16;
    cos += 16;
    sin += 16;
  }
  for (; i < half; i++) {
    const a = load<f32>(x);
    const b = load<f32>(y);
    const c = load<f32>(cos);
    const s = load<f32>(sin);
    store<f32>(x, a * c - b * s);
    store<f32>(y, a * s + b * c);
    x += 4;
    y += 4;
    cos += 4;
    sin += 4;
  }
}

export function turnInterleaved(x: usize, cos: usize, sin: usize, half: i32): void {
  const signs = i32x4(<i32>0x80000000, 0, <i32>0x80000000, 0);
  let i = 0;
  for (; i + 2 <= half; i += 2) {
    const pairs = v128.load(x);
    const c = v128.load64_zero(cos);
    const s = v128.load64_zero(sin);
    const turned = f32x4.mul(v128.shuffle<f32>(pairs, pairs, 1, 0, 3, 2), v128.shuffle<f32>(s, s, 0, 0, 1, 1));
    const kept = f32x4.mul(pairs, v128.shuffle<f32>(c, c, 0, 0, 1, 1));
    v128.store(x, f32x4.add(kept, v128.xor(turned, signs)));
    x += 16;
    cos += 8;
    sin += 8;
  }
  if (i < half) {
    const a = load<f32>(x);
    const b = load<f32>(x, 4);
    const c = load<f32>(cos);
    const s = load<f32>(sin);
    store<f32>(x, a * c - b * s);
    store<f32>(x, a * s + b * c, 4);
  }
}
