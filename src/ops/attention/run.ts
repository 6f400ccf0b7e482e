// Runs a kernel of attention over all tiles of filled parameter blocks.

import type { AttentionParameters, ForwardParameters, RegionParameters } from '../../../build/kernels.js';
import type { CallScope } from '../../runtime/call-scope.js';
import type { ParameterBlock, Words } from '../../runtime/parameters.js';
import { attentionBlock, forwardBlock, regionBlock } from './parameters.js';

type RegionKernel = 'attentionWeights' | 'columnSums' | 'entropies' | 'topKeys';

/** @internal The forward pass of a plan. Later parts go over earlier ones. */
export function runForward(
  scope: CallScope,
  plan: AttentionParameters,
  ...parts: readonly ForwardParameters[]
): void {
  let valueHeadDim = 0;
  for (const part of parts) valueHeadDim = part.valueHeadDim ?? valueHeadDim;
  run(scope, 'attentionForward', plan, forwardBlock, parts, valueHeadDim);
}

/** @internal A kernel that looks at a region of the weights. Later parts go over earlier ones. */
export function runOverRegion(
  scope: CallScope,
  kernel: RegionKernel,
  plan: AttentionParameters,
  ...parts: readonly RegionParameters[]
): void {
  run(scope, kernel, plan, regionBlock, parts, 0);
}

/** Nothing runs without queries: then the plan is empty. */
function run<Name extends string>(
  scope: CallScope,
  kernel: 'attentionForward' | RegionKernel,
  plan: AttentionParameters,
  block: ParameterBlock<Name>,
  parts: readonly Words<Name>[],
  valueHeadDim: number,
): void {
  const { batch, queryHeads, queries, keys, headDim } = plan;
  if (!batch) return;
  const { kernels, linearMemory, threads } = scope.runtime;
  const parameters = scope.allocate(attentionBlock.bytes + block.bytes);
  const own = parameters + attentionBlock.bytes;
  attentionBlock.write(linearMemory, parameters, [plan]);
  block.write(linearMemory, own, parts);
  const tiles =
    kernel === 'columnSums' ? kernels.columnTiles(parameters) : kernels.attentionTiles(parameters);
  scope.run({
    kernel,
    args: [parameters, own],
    tiles,
    grain: Math.min(kernels.attentionGrain(parameters), Math.ceil(tiles / (threads?.count ?? 1))),
    scratchBytes: kernels.workspaceBytes(parameters, valueHeadDim),
    // As if no key were removed.
    cost: 2 * batch * queryHeads! * queries! * (keys! + 1) * (headDim! + valueHeadDim),
  });
}
