// The forward pass with dropout of weights: that of forward.ts, of whose sums the softmax's are those of all weights.

import { runForward, SomeWeights } from './forward';

/**
 * Runs tiles [tileFrom, tileTo) of `attentionTiles`. `scratch` holds `workspaceBytes`.
 *
 * @param parameters AttentionParameters, without pages
 * @param forward    ForwardParameters
 * @param dropout    WeightDropoutParameters
 */
export function droppedAttention(
  parameters: usize, forward: usize, dropout: usize, scratch: usize, tileFrom: i32, tileTo: i32,
): void {
  runForward<SomeWeights>(parameters, forward, dropout, scratch, tileFrom, tileTo);
}
