// What the public layers that work on each row by itself have in common: rows in, as many rows out.

import { callAsync, callNow } from '../../runtime/call.js';
import type { AsyncOptions } from '../../runtime/call.js';
import type { CallScope } from '../../runtime/call-scope.js';
import { checkInstance } from '../../runtime/checks.js';
import type { NamesOf } from '../../runtime/checks.js';
import { shapeError } from '../../runtime/errors.js';
import { checkDataType } from '../../runtime/inputs.js';
import type { TensorLike } from '../../runtime/inputs.js';
import { givenOutput } from '../../runtime/output.js';
import type { Operation } from '../../runtime/operation.js';
import type { Tensor } from '../../runtime/tensor.js';
import type { Rows } from '../pass.js';
import { Layer } from './layer.js';
import { rowsOfTensor } from './stack.js';

/** Options of a call of a layer that works on rows. */
export interface RowLayerOptions {
  /** A contiguous float32 tensor of the output's shape to write to. It must not share an element with the input. */
  readonly output?: Tensor | undefined;
}

/** A layer of rows [..., channels]. */
export abstract class RowLayer extends Layer {
  /**
   * Runs the layer.
   *
   * @param x [..., channels]
   * @returns a tensor of the same shape
   * @throws AttentionError INVALID_STATE before `load`; INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT, OUT_OF_MEMORY
   */
  forward(x: TensorLike, options: RowLayerOptions = {}): Tensor<'float32'> {
    return callNow(rowOperation, [this, x], options);
  }

  /** {@link forward} in slices of some milliseconds between turns of the event loop: the same bits, and the page lives on. */
  forwardAsync(x: TensorLike, options: RowLayerOptions & AsyncOptions = {}): Promise<Tensor<'float32'>> {
    return callAsync(rowOperation, [this, x], options);
  }

  /** @internal `forward` as part of a call. */
  run(scope: CallScope, x: TensorLike, { output }: RowLayerOptions): Tensor<'float32'> {
    this.checkLoaded();
    this.parameters.hold(scope);
    const given = scope.tensor('x', x);
    checkDataType('x', given, 'float32');
    const channels = this.channels;
    if (given.shape.at(-1) !== channels) throw shapeError('x', `[..., ${channels}]`, given.shape);
    const input = scope.contiguous(given);
    const result =
      output === undefined ? scope.make(given.shape) : givenOutput(scope, output, given.shape, true);
    if (result.size > 0) this.runRows(scope, rowsOfTensor(input), rowsOfTensor(result));
    return result;
  }

  /** @internal */
  protected abstract get channels(): number;
  /** @internal */
  protected abstract runRows(scope: CallScope, x: Rows, y: Rows): void;
}

export const rowOperation: Operation<[layer: RowLayer, x: TensorLike], RowLayerOptions, Tensor<'float32'>> = {
  inputs: ['layer', 'x'],
  options: { output: 1 } satisfies NamesOf<RowLayerOptions>,
  runtime: ([layer]) => checkInstance('layer', layer, RowLayer).runtime,
  run: (scope, [layer, x], options) => layer.run(scope, x, options),
};
