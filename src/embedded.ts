// Builds of kernels that a program carries as text: decoded by a small module of its own, which engines run at speed from its
// first instruction. Every embedded pack shares it.

import { decoder } from '../build/range-decoder.js';

/** What assembly/range-decoder.ts exports. */
interface Decoder {
  readonly memory: WebAssembly.Memory;
  /** Address from which on the memory is free. */
  readonly start: () => number;
  readonly decode: (from: number, target: number, length: number) => void;
}

type Place = readonly [from: number, to: number];

/** What a text continues: that of another pack, and how many bytes it stands for. */
interface Earlier {
  readonly encoded: string;
  readonly length: number;
}

/** The builds of a pack, decoded when they are asked for. */
export function embedded(
  encoded: string,
  places: { readonly simd: Place; readonly relaxed: Place },
  earlier: Earlier = { encoded: '', length: 0 },
) {
  return {
    simd: () => decode(encoded, places.simd, earlier),
    relaxed: () => decode(encoded, places.relaxed, earlier),
  };
}

function decode(encoded: string, [from, to]: Place, earlier: Earlier): Uint8Array<ArrayBuffer> {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(decoder)));
  const { memory, start, decode } = exports as unknown as Decoder;
  const first = bytesOf(earlier.encoded);
  const content = bytesOf(encoded);
  const second = start() + first.length;
  const target = second + content.length;
  const bytes = new Uint8Array(memory.buffer);
  bytes.set(first, start());
  bytes.set(content, second);
  decode(start(), target, earlier.length);
  decode(second, target + earlier.length, to);
  return bytes.slice(target + earlier.length + from, target + earlier.length + to);
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i); // quicker than Uint8Array.from before it is compiled
  return bytes;
}
