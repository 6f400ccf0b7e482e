// Means over tokens, in double precision.

/** Channels of a tile. */
export const POOL_BLOCK: i32 = 128;

/**
 * [batch][length][channels] floats -> their weighted means [batch][channels]: sum of weight * x / sum of weights, and zeros where
 * there is no weight. A token of weight 0 is not read. Tiles [tileFrom, tileTo) of ceil(channels / POOL_BLOCK) x batch.
 *
 * @param weights [batch][length] floats; 0: ones
 * @param scratch POOL_BLOCK doubles
 */
export function meansOverTokens(
  x: usize, rowStride: usize, length: i32, channels: i32, weights: usize, y: usize, scratch: usize, tileFrom: i32, tileTo: i32,
): void {
  const blocks = (channels + POOL_BLOCK - 1) / POOL_BLOCK;
  for (let tile = tileFrom; tile < tileTo; tile++) {
    const batch = <usize>(tile / blocks);
    const first = (tile % blocks) * POOL_BLOCK;
    const count = min(POOL_BLOCK, channels - first);
    const sums = scratch + (<usize>count << 3);
    let from = x + batch * <usize>length * rowStride + (<usize>first << 2);
    let weight = weights ? weights + ((batch * <usize>length) << 2) : 0;
    let total: f64 = 0;
    memory.fill(scratch, 0, <usize>count << 3);
    for (let token = 0; token < length; token++, from += rowStride) {
      let own: f64 = 1;
      if (weights) {
        own = <f64>load<f32>(weight);
        weight += 4;
        if (own == 0) continue;
      }
      total += own;
      const factor = f64x2.splat(own);
      let at = from;
      let sum = scratch;
      for (; sum + 8 < sums; sum += 16, at += 8) {
        const two = f64x2.promote_low_f32x4(v128.load64_zero(at));
        v128.store(sum, f64x2.add(v128.load(sum), f64x2.mul(two, factor)));
      }
      if (sum < sums) store<f64>(sum, load<f64>(sum) + <f64>load<f32>(at) * own);
    }
    let to = y + ((batch * <usize>channels + <usize>first) << 2);
    const divisor = total == 0 ? 1 : total;
    for (let sum = scratch; sum < sums; sum += 8, to += 4) store<f32>(to, <f32>(load<f64>(sum) / divisor));
  }
}
