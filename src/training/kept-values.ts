// Values that a checkpoint of a training holds, one array after the other: parameters, adapters, and what an optimiser remembers. Each is
// read and written in the order of its shape, however it lies in memory.

import { packPiece, unpackPiece } from '../ops/linear/packing.js';
import { runInScope } from '../runtime/call.js';
import type { CallScope } from '../runtime/call-scope.js';
import { sizeOf } from '../runtime/layout.js';
import type { Runtime } from '../runtime/runtime.js';
import type { Tensor } from '../runtime/tensor.js';
import type { TrainableParameter } from './parameter.js';

/** Values of one name. */
export interface KeptValues {
  readonly name: string;
  readonly shape: readonly number[];
  /** A copy. */
  readonly read: () => Float32Array;
  /** As many as the shape has. */
  readonly write: (values: Float32Array) => void;
}

/** What lies in a tensor as a parameter does. */
export function keptIn(
  runtime: Runtime,
  name: string,
  { shape, kind }: Pick<TrainableParameter, 'shape' | 'kind'>,
  packed: Tensor<'float32'>,
): KeptValues {
  if (kind === 'floats')
    return { name, shape, read: () => packed.data.slice(), write: (values) => packed.data.set(values) };
  const matrix = { outFeatures: shape[0]!, inFeatures: sizeOf(shape) / shape[0]!, packed };
  const unpacked = (scope: CallScope) => scope.temporary([matrix.outFeatures, matrix.inFeatures]);
  return {
    name,
    shape,
    read: () =>
      runInScope(runtime, (scope) => {
        const tensor = unpacked(scope);
        unpackPiece(scope, matrix, { address: tensor.address, dtype: 'F32' });
        return tensor.data.slice();
      }),
    write: (values) =>
      runInScope(runtime, (scope) => {
        const tensor = unpacked(scope);
        tensor.data.set(values);
        packPiece(scope, matrix, { address: tensor.address, dtype: 'F32' });
      }),
  };
}
