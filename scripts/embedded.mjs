// The builds of a pack as a module of text, for those who load no files: build/encoded-<pack>.ts is the text alone, so that
// bundlers put it before all code, which compresses better apart; build/embedded-<pack>.ts is what entries import; and the
// decoder of all of them is build/range-decoder.ts.

import { encode } from './range-encoder.mjs';

/** The source of build/range-decoder.ts. */
export function decoderText(decoder) {
  return `export const decoder = '${Buffer.from(decoder).toString('base64')}';\n`;
}

/**
 * The sources of build/encoded-<pack>.ts and build/embedded-<pack>.ts. The builds are encoded one after the other, because they hardly differ. Text compresses
 * for the network to about what base64 adds.
 *
 * @param pack    its name
 * @param builds  of that pack, { target, contents } each
 * @param decoder bytes of the decoder: what is encoded is decoded once, to be sure
 */
export function embeddedTexts(pack, builds, decoder) {
  const bytes = Buffer.concat(builds.map(({ contents }) => contents));
  const encoded = encode(bytes);
  if (!decode(decoder, encoded, bytes.length).equals(bytes))
    throw new Error('What was encoded does not decode');
  let end = 0;
  const places = builds.map(({ target, contents }) => `${target}: [${end}, ${(end += contents.length)}]`);
  return {
    encoded: `export const encoded =\n  '${encoded.toString('base64')}';\n`,
    embedded: [
      `import { encoded } from './encoded-${pack}.js'; // first, so that bundles begin with it`,
      `import { embedded } from '../src/embedded.js';`,
      `export const wasm = /* @__PURE__ */ embedded(encoded, { ${places.join(', ')} });\n`,
    ].join('\n'),
  };
}

/**
 * As src/embedded.ts does it.
 *
 * @public a test decodes with it, too
 */
export function decode(decoder, encoded, length) {
  const { memory, start, decode } = new WebAssembly.Instance(new WebAssembly.Module(decoder)).exports;
  const target = start() + encoded.length;
  if (target + length > memory.buffer.byteLength) throw new Error('The decoder needs more memory');
  new Uint8Array(memory.buffer).set(encoded, start());
  decode(target, length);
  return Buffer.from(memory.buffer, target, length);
}
