// Runs a kernel of attention over all tiles of a filled parameter block.

import type { CallScope } from '../../runtime/call-scope.js';
import { attentionBlock } from './parameters.js';
import type { Parameters } from './parameters.js';

type AttentionKernel = 'attentionForward' | 'attentionWeights' | 'columnSums' | 'entropies' | 'topKeys';

/**
 * @internal Later parts go over earlier ones; the first is that of a plan. Nothing runs without queries: then it is empty.
 */
export function runAttention(
  scope: CallScope,
  kernel: AttentionKernel,
  ...parts: readonly Parameters[]
): void {
  const { batch, queryHeads, queries, keys, headDim } = parts[0]!;
  if (!batch) return;
  const { kernels, linearMemory, threads } = scope.runtime;
  const block = scope.allocate(attentionBlock.bytes);
  attentionBlock.write(linearMemory, block, parts);
  let valueHeadDim = 0;
  for (const part of parts) valueHeadDim = part.valueHeadDim ?? valueHeadDim;
  const tiles = kernel === 'columnSums' ? kernels.columnTiles(block) : kernels.attentionTiles(block);
  scope.run({
    kernel,
    args: [block],
    tiles,
    grain: Math.min(kernels.attentionGrain(block), Math.ceil(tiles / (threads?.count ?? 1))),
    scratchBytes: kernels.workspaceBytes(block),
    // As if no key were removed.
    cost: 2 * batch * queryHeads! * queries! * (keys! + 1) * (headDim! + valueHeadDim),
  });
}
