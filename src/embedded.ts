// Builds of kernels that a program carries as text: decoded by a small module of its own, which engines run at speed from its
// first instruction. Every embedded pack shares it.

import { decoder } from '../build/range-decoder.js';

/** What assembly/range-decoder.ts exports. */
interface Decoder {
  readonly memory: WebAssembly.Memory;
  /** Address at which it looks for what is encoded. */
  readonly start: () => number;
  readonly decode: (target: number, length: number) => void;
}

type Place = readonly [from: number, to: number];

/** The builds of a pack, decoded when they are asked for. */
export function embedded(encoded: string, places: { readonly simd: Place; readonly relaxed: Place }) {
  return {
    simd: () => decode(encoded, places.simd),
    relaxed: () => decode(encoded, places.relaxed),
  };
}

function decode(encoded: string, [from, to]: Place): Uint8Array<ArrayBuffer> {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytesOf(decoder)));
  const { memory, start, decode } = exports as unknown as Decoder;
  const content = bytesOf(encoded);
  const target = start() + content.length;
  new Uint8Array(memory.buffer).set(content, start());
  decode(target, to);
  return new Uint8Array(memory.buffer.slice(target + from, target + to));
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i); // quicker than Uint8Array.from before it is compiled
  return bytes;
}
