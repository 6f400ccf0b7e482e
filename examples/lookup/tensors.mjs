// The tensors of a TensorFlow.js model, from its list of them and the files that it names. Imports nothing, for pages too.

/**
 * @param {{ paths: string[], weights: Entry[] }[]} manifest  `weightsManifest` of model.json
 * @param {(path: string) => Promise<Uint8Array>} read  gives a file that it names
 * @returns {Promise<Map<string, { data: Float32Array, shape: number[] }>>} by the names of the graph
 *
 * @typedef {{ name: string, dtype: string, shape: number[] }} Entry
 */
export async function readTensors(manifest, read) {
  const tensors = new Map();
  for (const { paths, weights } of manifest) {
    const bytes = joined(await Promise.all(paths.map(read)));
    for (const [name, tensor] of readGroup(weights, bytes)) tensors.set(name, tensor);
  }
  return tensors;
}

/** @param {Uint8Array[]} parts @returns {Uint8Array} which begins at a multiple of 4, as a part of a pool need not */
function joined(parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * The tensors of a group, which lie one after another across its shards. Integers are settings of the graph: passed over.
 *
 * @param {Entry[]} entries
 * @param {Uint8Array} bytes
 */
function readGroup(entries, { buffer, length }) {
  const sizes = entries.map(({ shape }) => shape.reduce((product, size) => product * size, 1));
  const wanted = 4 * sizes.reduce((sum, size) => sum + size, 0);
  const other = entries.find(({ dtype }) => dtype !== 'float32' && dtype !== 'int32');
  if (other) throw new Error(`${other.name} is of ${other.dtype}, not float32`);
  if (length !== wanted) throw new Error(`the files of the weights have ${length} bytes, not ${wanted}`);
  let offset = 0;
  return entries.flatMap(({ name, dtype, shape }, i) => {
    const data = new Float32Array(buffer, offset, sizes[i]);
    offset += 4 * sizes[i];
    return dtype === 'float32' ? [[name, { data, shape }]] : [];
  });
}
