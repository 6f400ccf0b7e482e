// Runs a kernel of attention over all tiles of a filled parameter block.

import type { CallScope } from '../../runtime/inputs.js';
import type { TileKernel } from '../../runtime/tiles.js';
import { PARAMETER_BYTES, writeParameters } from './parameters.js';
import type { Parameters } from './parameters.js';

type AttentionKernel = TileKernel &
  ('attentionForward' | 'attentionWeights' | 'columnSums' | 'entropies' | 'topKeys');

/** @internal Nothing runs without queries: then the parameters are empty. */
export function runAttention(scope: CallScope, kernel: AttentionKernel, parameters: Parameters): void {
  const { batch, queryHeads, queries, keys, headDim, valueHeadDim = 0 } = parameters;
  if (!batch) return;
  const { kernels, linearMemory } = scope.runtime;
  const block = scope.allocate(PARAMETER_BYTES);
  writeParameters(linearMemory, block, parameters);
  scope.run({
    kernel,
    args: [block],
    tiles: kernel === 'columnSums' ? kernels.columnTiles(block) : kernels.attentionTiles(block),
    scratchBytes: kernels.workspaceBytes(block),
    // As if no key were removed.
    cost: 2 * batch * queryHeads! * queries! * (keys! + 1) * (headDim! + valueHeadDim),
  });
}

/** @internal */
export function runForward(scope: CallScope, parameters: Parameters): void {
  runAttention(scope, 'attentionForward', parameters);
}
