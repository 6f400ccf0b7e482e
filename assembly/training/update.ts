// Steps of optimisers and what goes before them: element by element over flat arrays. A tile is UPDATED_TOGETHER elements; what lies
// in a tile beyond the last whole vector is done lane by lane with the same arithmetic.

import { multiplyAdd } from '../math/vector';

/** Elements of a tile. */
export const UPDATED_TOGETHER: i32 = 4096;
const TILE_BYTES: usize = <usize>UPDATED_TOGETHER << 2;

/** One step of AdamW, as PyTorch takes it. */
@unmanaged
export class AdamWParameters {
  values: usize;
  gradients: usize;
  /** Means of gradients and of their squares, each as many as there are values. */
  means: usize;
  squares: usize;
  count: i32;
  /** 1 - learning rate * weight decay. */
  kept: f32;
  /** 1 - beta1. */
  meanShare: f32;
  /** beta2, and 1 - beta2. */
  squaresKept: f32;
  squareShare: f32;
  /** Learning rate / (1 - beta1^step). */
  stepSize: f32;
  /** 1 / sqrt(1 - beta2^step). */
  rootFactor: f32;
  epsilon: f32;
}

/** Tiles [tileFrom, tileTo) of the values and their state. `scratch` is not needed. */
export function stepAdamW(parameters: usize, scratch: usize, tileFrom: i32, tileTo: i32): void {
  const p = changetype<AdamWParameters>(parameters);
  const end = endOf(p.count, tileTo);
  const whole = end & ~15;
  let at = <usize>tileFrom * TILE_BYTES;
  for (; at < whole; at += 16) {
    const gradient = v128.load(p.gradients + at);
    const mean = nextMean(p, v128.load(p.means + at), gradient);
    const square = nextSquare(p, v128.load(p.squares + at), gradient);
    v128.store(p.means + at, mean);
    v128.store(p.squares + at, square);
    v128.store(p.values + at, nextValue(p, v128.load(p.values + at), mean, square));
  }
  for (; at < end; at += 4) {
    const gradient = v128.load32_splat(p.gradients + at);
    const mean = nextMean(p, v128.load32_splat(p.means + at), gradient);
    const square = nextSquare(p, v128.load32_splat(p.squares + at), gradient);
    v128.store32_lane(p.means + at, mean, 0);
    v128.store32_lane(p.squares + at, square, 0);
    v128.store32_lane(p.values + at, nextValue(p, v128.load32_splat(p.values + at), mean, square), 0);
  }
}

// @ts-ignore: decorator
@inline
function nextMean(p: AdamWParameters, mean: v128, gradient: v128): v128 {
  return multiplyAdd(f32x4.splat(p.meanShare), f32x4.sub(gradient, mean), mean);
}

// @ts-ignore: decorator
@inline
function nextSquare(p: AdamWParameters, square: v128, gradient: v128): v128 {
  return multiplyAdd(f32x4.mul(f32x4.splat(p.squareShare), gradient), gradient, f32x4.mul(square, f32x4.splat(p.squaresKept)));
}

// @ts-ignore: decorator
@inline
function nextValue(p: AdamWParameters, value: v128, mean: v128, square: v128): v128 {
  const root = f32x4.add(f32x4.mul(f32x4.sqrt(square), f32x4.splat(p.rootFactor)), f32x4.splat(p.epsilon));
  const step = f32x4.div(f32x4.mul(f32x4.splat(p.stepSize), mean), root);
  return f32x4.sub(f32x4.mul(value, f32x4.splat(p.kept)), step);
}

/** One step of gradient descent, as PyTorch's SGD takes it. */
@unmanaged
export class SgdParameters {
  values: usize;
  gradients: usize;
  /** As many as there are values; 0 without momentum. */
  velocities: usize;
  count: i32;
  learningRate: f32;
  momentum: f32;
  weightDecay: f32;
  nesterov: i32;
}

/** Tiles [tileFrom, tileTo) of the values and their velocities. `scratch` is not needed. */
export function stepSgd(parameters: usize, scratch: usize, tileFrom: i32, tileTo: i32): void {
  const p = changetype<SgdParameters>(parameters);
  const end = endOf(p.count, tileTo);
  const whole = end & ~15;
  let at = <usize>tileFrom * TILE_BYTES;
  const rates = f32x4.splat(-p.learningRate);
  const decays = f32x4.splat(p.weightDecay);
  const momenta = f32x4.splat(p.momentum);
  while (at < end) {
    const isWhole = at < whole;
    const value = isWhole ? v128.load(p.values + at) : v128.load32_splat(p.values + at);
    let step = isWhole ? v128.load(p.gradients + at) : v128.load32_splat(p.gradients + at);
    step = multiplyAdd(decays, value, step);
    if (p.velocities) {
      const earlier = isWhole ? v128.load(p.velocities + at) : v128.load32_splat(p.velocities + at);
      const velocity = multiplyAdd(momenta, earlier, step);
      if (isWhole) v128.store(p.velocities + at, velocity);
      else v128.store32_lane(p.velocities + at, velocity, 0);
      step = p.nesterov ? multiplyAdd(momenta, velocity, step) : velocity;
    }
    const next = multiplyAdd(rates, step, value);
    if (isWhole) v128.store(p.values + at, next);
    else v128.store32_lane(p.values + at, next, 0);
    at += isWhole ? 16 : 4;
  }
}

/** The sum of squares of each of the tiles [tileFrom, tileTo), in double precision, to its place in `sums`. */
export function sumSquares(values: usize, count: i32, sums: usize, scratch: usize, tileFrom: i32, tileTo: i32): void {
  for (let tile = tileFrom; tile < tileTo; tile++) {
    let at = values + <usize>tile * TILE_BYTES;
    const end = values + endOf(count, tile + 1);
    let low = f64x2.splat(0);
    let high = low;
    for (; at + 16 <= end; at += 16) {
      const four = v128.load(at);
      const first = f64x2.promote_low_f32x4(four);
      const second = f64x2.promote_low_f32x4(v128.shuffle<f32>(four, four, 2, 3, 0, 1));
      low = f64x2.add(low, f64x2.mul(first, first));
      high = f64x2.add(high, f64x2.mul(second, second));
    }
    low = f64x2.add(low, high);
    let sum = f64x2.extract_lane(low, 0) + f64x2.extract_lane(low, 1);
    for (; at < end; at += 4) {
      const value = <f64>load<f32>(at);
      sum += value * value;
    }
    store<f64>(sums + (<usize>tile << 3), sum);
  }
}

/** Tiles [tileFrom, tileTo) times the float at `factor`, which a step before has found. */
export function scaleValues(values: usize, count: i32, factor: usize, scratch: usize, tileFrom: i32, tileTo: i32): void {
  const by = load<f32>(factor);
  if (by == 1) return;
  const end = values + endOf(count, tileTo);
  let at = values + <usize>tileFrom * TILE_BYTES;
  for (; at + 16 <= end; at += 16) v128.store(at, f32x4.mul(v128.load(at), f32x4.splat(by)));
  for (; at < end; at += 4) store<f32>(at, load<f32>(at) * by);
}

/** Bytes from the first element to where tile `tileTo` begins, or the elements end. */
// @ts-ignore: decorator
@inline
function endOf(count: i32, tileTo: i32): usize {
  return min(<usize>count << 2, <usize>tileTo * TILE_BYTES);
}
