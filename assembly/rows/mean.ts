// Means over heads, in double precision.

/** Elements of a tile. */
export const MEAN_BLOCK: i32 = 1024;

/**
 * [batch][heads][size] floats -> their means [batch][size]. Tiles [tileFrom, tileTo) of ceil(size / MEAN_BLOCK) x batch.
 *
 * @param scratch MEAN_BLOCK doubles
 */
export function meansOverHeads(
  source: usize, target: usize, heads: i32, size: i32, scratch: usize, tileFrom: i32, tileTo: i32,
): void {
  const blocks = (size + MEAN_BLOCK - 1) / MEAN_BLOCK;
  const count = f64x2.splat(<f64>heads);
  for (let tile = tileFrom; tile < tileTo; tile++) {
    const batch = <usize>(tile / blocks);
    const first = (tile % blocks) * MEAN_BLOCK;
    const elements = min(MEAN_BLOCK, size - first);
    const end = scratch + (<usize>elements << 3);
    let from = source + ((batch * <usize>heads * <usize>size + <usize>first) << 2);
    memory.fill(scratch, 0, <usize>MEAN_BLOCK << 3);
    for (let head = 0; head < heads; head++, from += <usize>size << 2) {
      let at = from;
      for (let sum = scratch; sum < end; sum += 32, at += 16) {
        const four = v128.load(at);
        v128.store(sum, f64x2.add(v128.load(sum), f64x2.promote_low_f32x4(four)));
        const high = f64x2.promote_low_f32x4(v128.shuffle<f32>(four, four, 2, 3, 2, 3));
        v128.store(sum, f64x2.add(v128.load(sum, 16), high), 16);
      }
    }
    let to = target + ((batch * <usize>size + <usize>first) << 2);
    for (let sum = scratch; sum < end; sum += 16, to += 8) {
      const two = f32x4.demote_f64x2_zero(f64x2.div(v128.load(sum), count));
      if (sum + 8 < end) v128.store64_lane(to, two, 0);
      else v128.store32_lane(to, two, 0);
    }
  }
}
