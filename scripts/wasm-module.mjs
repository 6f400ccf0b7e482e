// What holds for every module of kernels, and how the package marks its own.

/** Sections by which a module would write to the memory when an instance is made, or run: start, data, their count. */
const WRITING_SECTIONS = { 8: 'a start function', 11: 'static data', 12: 'static data' };

/** Where the import of the memory stands, at most: src/runtime/wasm-source.ts looks no further. */
const HEAD_BYTES = 1024;
const MEMORY_IMPORT = Buffer.from('\x03env\x06memory\x02');

/**
 * Modules of kernels share one memory, whichever are loaded, and when: none may write to it by being loaded, and all agree
 * on where the caller's part begins.
 *
 * @param builds { name, contents } each
 * @returns the address from which on the memory is the caller's
 */
export function checkModules(builds) {
  const heapBases = new Map();
  for (const { name, contents } of builds) {
    for (const section of sectionsOf(contents)) {
      const what = WRITING_SECTIONS[section];
      if (what)
        throw new Error(`${name} has ${what}, which every instance over a shared memory would bring back`);
    }
    const at = contents.indexOf(MEMORY_IMPORT);
    if (at < 0 || at > HEAD_BYTES - MEMORY_IMPORT.length) {
      throw new Error(`${name} does not import its memory within its first ${HEAD_BYTES} bytes`);
    }
    // What this engine cannot run is another build of the same source.
    if (WebAssembly.validate(contents)) heapBases.set(name, heapBaseOf(name, contents));
  }
  const [heapBase, ...others] = new Set(heapBases.values());
  if (heapBase === undefined || others.length > 0) {
    const list = [...heapBases].map(([name, address]) => `${name} at ${address}`);
    throw new Error(`The memory begins at different places: ${list.join(', ')}`);
  }
  return heapBase;
}

function heapBaseOf(name, contents) {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536 });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(contents), { env: { memory } });
  if (!exports.heapBase) throw new Error(`${name} does not export heapBase of assembly/memory.ts`);
  return exports.heapBase();
}

/** The numbers of a module's sections. */
function sectionsOf(contents) {
  const sections = [];
  for (let at = 8; at < contents.length;) {
    sections.push(contents[at++]);
    let length = 0;
    for (let shift = 0, byte = 128; byte & 128; shift += 7) {
      byte = contents[at++];
      length |= (byte & 127) << shift;
    }
    at += length;
  }
  return sections;
}

/** The module with a custom section `wasm-attention` that holds a text. */
export function signed(wasm, text) {
  const sized = (content) => Buffer.from([content.length, ...content]); // one byte of LEB128: content below 128 bytes
  const name = sized(Buffer.from('wasm-attention'));
  return Buffer.concat([wasm, Buffer.from([0]), sized(Buffer.concat([name, Buffer.from(text)]))]);
}
