// What this engine's WebAssembly can do, found out by compiling and running a few bytes for each family of instructions.

/** The result of probing. */
export interface Features {
  /** There is WebAssembly. */
  readonly webAssembly: boolean;
  /** SIMD code may be compiled: not so under a Content-Security-Policy without 'wasm-unsafe-eval', nor on edge networks. */
  readonly compiles: boolean;
  /** 128-bit SIMD. */
  readonly simd: boolean;
  /** f32x4.relaxed_madd compiles and computes. */
  readonly relaxedMultiplyAdd: boolean;
  /** i32x4.relaxed_dot_i8x16_i7x16_add_s compiles and computes. */
  readonly relaxedDot: boolean;
  /** relaxed_madd rounds once: faster on most machines, and other bits than the simd build. */
  readonly fusedMultiplyAdd: boolean;
}

/** (func (export "f") (param f32 f32 f32) (result f32)): lane 0 of `instruction` on the three splatted parameters. */
function probeModule(instruction: readonly number[]): Uint8Array<ArrayBuffer> {
  const splats = [0x20, 0, 0xfd, 0x13, 0x20, 1, 0xfd, 0x13, 0x20, 2, 0xfd, 0x13];
  const body = [0, ...splats, ...instruction, 0xfd, 0x1f, 0, 0x0b];
  return Uint8Array.of(
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00], // header
    ...[0x01, 0x08, 1, 0x60, 3, 0x7d, 0x7d, 0x7d, 1, 0x7d], // type
    ...[0x03, 0x02, 1, 0], // functions
    ...[0x07, 0x05, 1, 1, 0x66, 0, 0], // exports
    ...[0x0a, body.length + 2, 1, body.length], // code
    ...body,
  );
}

function floatOfBits(bits: number): number {
  return new Float32Array(Uint32Array.of(bits).buffer)[0]!;
}

type Probe = (a: number, b: number, c: number) => number;

function compileProbe(instruction: readonly number[]): Probe | undefined {
  try {
    // These few bytes may be compiled synchronously everywhere, also on the main thread of a page.
    const module = new WebAssembly.Module(probeModule(instruction));
    return new WebAssembly.Instance(module).exports['f'] as Probe;
  } catch {
    return undefined;
  }
}

let found: Features | undefined;

/**
 * Probes once; the answer belongs to the engine, not to a runtime.
 *
 * @example
 * ```js
 * if (!probeFeatures().simd) console.log('this engine cannot run wasm-attention');
 * ```
 */
export function probeFeatures(): Features {
  return (found ??= probe());
}

function probe(): Features {
  const webAssembly = typeof WebAssembly === 'object';
  // v128.andnot(a, b) after dropping c; f32x4.relaxed_madd(a, b, c). Validation, unlike compilation, is never forbidden.
  const andNot = [0xfd, 0xe4, 0x01, 0xfd, 0xe4, 0x01];
  const simd = webAssembly && WebAssembly.validate(probeModule(andNot));
  const compiles = simd && compileProbe(andNot) !== undefined;
  const multiplyAdd = compileProbe([0xfd, 0x85, 0x02]);
  const relaxedMultiplyAdd = multiplyAdd?.(3, 5, 7) === 22;
  // Bytes -62, -123, -1, -127 times 127, 127, 127, 63, added to the bits of 1: all of them bits of ordinary floats.
  const dot = compileProbe([0xfd, 0x93, 0x02]);
  const relaxedDot =
    dot?.(floatOfBits(0x81ff85c2), floatOfBits(0x3f7f7f7f), 1) === floatOfBits(0x3f800000 - 31623);
  // (1 + e)^2 - (1 + 2e) is e^2, which only a single rounding keeps.
  const e = 2 ** -13;
  const fusedMultiplyAdd = relaxedMultiplyAdd && multiplyAdd?.(1 + e, 1 + e, -(1 + 2 * e)) === e * e;
  return { webAssembly, compiles, simd, relaxedMultiplyAdd, relaxedDot, fusedMultiplyAdd };
}
