// The builds of a pack as a module of text, for those who load no files: build/encoded-<pack>.ts is the text alone, so that
// bundlers put it before all code, which compresses better apart; build/embedded-<pack>.ts is what entries import; and the
// decoder of all of them is build/range-decoder.ts.

import { encode, NOTHING } from './range-encoder.mjs';

/** The source of build/range-decoder.ts: numbers, which compress as bytes do. As base64 they would take 0.2 kB more. */
export function decoderText(decoder) {
  return `export const decoder = [${Array.from(decoder).join()}];\n`;
}

/**
 * The builds of a pack, encoded one after the other, because they hardly differ; as scripts/range-encoder.mjs gives it.
 *
 * @param builds  of that pack, { target, contents } each
 * @param decoder bytes of the decoder: what is encoded is decoded once, to be sure
 * @param earlier another pack that this did for, which programs with this one carry anyway: its kernels come again in this one
 */
export function encodedPack(builds, decoder, earlier) {
  const encoded = encode(Buffer.concat(builds.map(({ contents }) => contents)), earlier);
  if (!decode(decoder, encoded, earlier).equals(encoded.bytes))
    throw new Error('What was encoded does not decode');
  return encoded;
}

/**
 * The sources of build/encoded-<pack>.ts and build/embedded-<pack>.ts. Text compresses for the network to about what base64
 * adds.
 *
 * @param pack    its name
 * @param builds  of that pack
 * @param encoded what `encodedPack` made of them
 * @param earlier the pack that it continues, if it does: { pack, encoded }
 */
export function embeddedTexts(pack, builds, encoded, earlier) {
  let end = 0;
  const places = builds.map(({ target, contents }) => `${target}: [${end}, ${(end += contents.length)}]`);
  const continues = earlier ? `, { encoded: earlier, length: ${earlier.encoded.bytes.length} }` : '';
  return {
    encoded: `export const encoded =\n  '${encoded.digits.toString('base64')}';\n`,
    embedded: [
      ...(earlier ? [`import { encoded as earlier } from './encoded-${earlier.pack}.js';`] : []),
      `import { encoded } from './encoded-${pack}.js'; // first, so that bundles begin with it`,
      `import { embedded } from '../src/embedded.js';`,
      `export const wasm = /* @__PURE__ */ embedded(encoded, { ${places.join(', ')} }${continues});\n`,
    ].join('\n'),
  };
}

/**
 * As src/embedded.ts does it: all bytes, those of what is continued too.
 *
 * @public a test decodes with it, too
 */
export function decode(decoder, encoded, earlier = NOTHING) {
  const { memory, start, decode } = new WebAssembly.Instance(new WebAssembly.Module(decoder)).exports;
  const second = start() + earlier.digits.length;
  const target = second + encoded.digits.length;
  const { length } = encoded.bytes;
  if (target + length > memory.buffer.byteLength) throw new Error('The decoder needs more memory');
  new Uint8Array(memory.buffer).set(Buffer.concat([earlier.digits, encoded.digits]), start());
  decode(start(), target, earlier.bytes.length);
  decode(second, target + earlier.bytes.length, length - earlier.bytes.length);
  return Buffer.from(memory.buffer, target, length);
}
