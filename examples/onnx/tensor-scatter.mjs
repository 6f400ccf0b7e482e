// ONNX TensorScatter (opset 24) on this package: plain tensors { data, dims } go in and come out. It writes new tokens into
// a copy of a cache; a KeyValueCache, which appends in place, is what a graph of it is best replaced by.

/**
 * @param {import('wasm-attention').Runtime} runtime
 * @param {{ past_cache: { data: ArrayLike<number>, dims: readonly number[] }, update: { data: ArrayLike<number>,
 *   dims: readonly number[] }, write_indices?: { data: ArrayLike<number | bigint> } }} inputs
 * @param {{ mode?: 'linear' | 'circular', axis?: number }} attributes
 * @throws RangeError for a linear write beyond the end
 */
export function onnxTensorScatter(runtime, { past_cache, update, write_indices }, attributes) {
  const { dims } = past_cache;
  const axis = (attributes.axis ?? -2) + ((attributes.axis ?? -2) < 0 ? dims.length : 0);
  const product = (sizes) => sizes.reduce((size, length) => size * length, 1);
  const [batch, outer, inner] = [dims[0], product(dims.slice(1, axis)), product(dims.slice(axis + 1))];
  const [room, length] = [dims[axis], update.dims[axis]];
  const present = runtime.tensor(Float32Array.from(past_cache.data, Number), [batch, outer, room, inner]);
  try {
    const added = Float32Array.from(update.data, Number);
    for (let b = 0; b < batch; b++) {
      const first = Number(write_indices?.data[b] ?? 0);
      if (attributes.mode !== 'circular' && (first < 0 || first + length > room)) {
        throw new RangeError(
          `write_indices: row ${b} writes [${first}, ${first + length}) of ${room} positions`,
        );
      }
      for (let o = 0; o < outer; o++) {
        const place = present.slice(0, b, b + 1).slice(1, o, o + 1);
        for (let i = 0; i < length; i++) {
          const at = (first + i) % room;
          const from = ((b * outer + o) * length + i) * inner;
          place.slice(2, at, at + 1).set(added.subarray(from, from + inner));
        }
      }
    }
    return { present_cache: { data: present.toFloat32Array(), dims } };
  } finally {
    present.dispose();
  }
}
