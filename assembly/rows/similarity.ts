// Rows compared with rows: distances, cosines, and products of all with all, with their gradients.

import { dot, scaleInto } from '../math/dot';
import { horizontalSum, multiplyAdd } from '../math/vector';

/** Elements of a tile of `squaredErrors`, whose sum is one float. */
export const ERROR_BLOCK: i32 = 4096;
const CHAIN_BYTES: usize = 256;

/**
 * Sums of (x - target)^2 over blocks [blockFrom, blockTo) of `count` floats, one float a block.
 *
 * @param gradient gets (x - target) * factor; 0: not wanted
 * @param factor   a pointer
 */
export function squaredErrors(
  x: usize, target: usize, count: i32, sums: usize, gradient: usize, factor: usize, scratch: usize, blockFrom: i32, blockTo: i32,
): void {
  const own = load<f32>(factor);
  const factors = f32x4.splat(own);
  for (let block = blockFrom; block < blockTo; block++) {
    const first = <usize>(block * ERROR_BLOCK) << 2;
    const end = <usize>min(count, (block + 1) * ERROR_BLOCK) << 2;
    const whole = first + ((end - first) & ~15);
    let sum: f64 = 0;
    let at = first;
    while (at < whole) {
      let chain = f32x4.splat(0);
      for (const last = min(whole, at + CHAIN_BYTES); at < last; at += 16) {
        const d = f32x4.sub(v128.load(x + at), v128.load(target + at));
        chain = multiplyAdd(d, d, chain);
        if (gradient) v128.store(gradient + at, f32x4.mul(d, factors));
      }
      sum += <f64>horizontalSum(chain);
    }
    for (; at < end; at += 4) {
      const d = load<f32>(x + at) - load<f32>(target + at);
      sum += <f64>d * <f64>d;
      if (gradient) store<f32>(gradient + at, d * own);
    }
    store<f32>(sums + (<usize>block << 2), <f32>sum);
  }
}

/** What one call of `cosineLosses` does. */
@unmanaged
export class CosineLossParameters {
  /** Rows of `channels` floats. */
  a: usize;
  aStride: usize;
  b: usize;
  bStride: usize;
  channels: i32;
  /** Floats, one a row: below 0 for rows that should differ; 0: all should be alike. */
  signs: usize;
  margin: f32;
  /** Of gradients. */
  factor: f32;
  /** Floats, one a row. */
  losses: usize;
  /** Rows of `channels` floats, one after the other; 0: neither is wanted. */
  da: usize;
  db: usize;
}

/** 1 - cos(a, b), or max(0, cos(a, b) - margin), of rows [rowFrom, rowTo). A row of zeros has cosine 0 and gives no gradient. */
export function cosineLosses(parameters: usize, scratch: usize, rowFrom: i32, rowTo: i32): void {
  const p = changetype<CosineLossParameters>(parameters);
  const bytes = <usize>p.channels << 2;
  for (let row = <usize>rowFrom; row < <usize>rowTo; row++) {
    const a = p.a + row * p.aStride;
    const b = p.b + row * p.bStride;
    const squareOfA = dot(a, a, bytes);
    const squareOfB = dot(b, b, bytes);
    const length = Math.sqrt(squareOfA) * Math.sqrt(squareOfB);
    const cosine = length == 0 ? 0 : dot(a, b, bytes) / length;
    const differs = p.signs ? load<f32>(p.signs + (row << 2)) < 0 : false;
    const beyond = cosine - <f64>p.margin;
    store<f32>(p.losses + (row << 2), <f32>(differs ? (beyond <= 0 ? 0 : beyond) : 1 - cosine));
    if (!p.da) continue;
    const da = p.da + row * bytes;
    const db = p.db + row * bytes;
    const slope = differs ? (beyond <= 0 ? 0 : 1) : -1.0;
    if (slope == 0 || length == 0) {
      memory.fill(da, 0, bytes);
      memory.fill(db, 0, bytes);
      continue;
    }
    const factor = slope * <f64>p.factor;
    scaleInto(b, <f32>(factor / length), da, bytes, 0);
    scaleInto(a, <f32>((-factor * cosine) / squareOfA), da, bytes, 1);
    scaleInto(a, <f32>(factor / length), db, bytes, 0);
    scaleInto(b, <f32>((-factor * cosine) / squareOfB), db, bytes, 1);
  }
}

/** y[i][j] = a[i] . b[j] * factor for rows [rowFrom, rowTo) of a. All rows are contiguous; `factor` is a pointer. */
export function productsOfRows(
  a: usize, b: usize, rowsOfB: i32, channels: i32, factor: usize, y: usize, scratch: usize, rowFrom: i32, rowTo: i32,
): void {
  const bytes = <usize>channels << 2;
  const scale = <f64>load<f32>(factor);
  for (let row = <usize>rowFrom; row < <usize>rowTo; row++) {
    let target = y + ((row * <usize>rowsOfB) << 2);
    for (let other: usize = 0; other < <usize>rowsOfB; other++, target += 4) {
      store<f32>(target, <f32>(dot(a + row * bytes, b + other * bytes, bytes) * scale));
    }
  }
}

/**
 * y[i] = sum over j of g[i][j] * b[j], or that added to y, for rows [rowFrom, rowTo) of y. All rows are contiguous.
 *
 * @param rowStride, columnStride bytes between elements of g, which may be read across
 */
export function sumsOfRows(
  g: usize, rowStride: usize, columnStride: usize, b: usize, rowsOfB: i32, channels: i32, y: usize, adding: i32,
  scratch: usize, rowFrom: i32, rowTo: i32,
): void {
  const bytes = <usize>channels << 2;
  for (let row = <usize>rowFrom; row < <usize>rowTo; row++) {
    const target = y + row * bytes;
    if (!adding) memory.fill(target, 0, bytes);
    for (let other: usize = 0; other < <usize>rowsOfB; other++) {
      scaleInto(b + other * bytes, load<f32>(g + row * rowStride + other * columnStride), target, bytes, 1);
    }
  }
}
