// What a backward pass of attention is beside its forward pass (parameters.ts): pointers, strides and sizes, in words. Strides are
// bytes. A pointer of 0 means "none": a gradient that nobody wants costs nothing.

@unmanaged
export class BackwardParameters {
  value: usize;
  valueBatchStride: usize;
  valueHeadStride: usize;
  valueRowStride: usize;
  valueHeadDim: i32;
  /** What the forward pass gave, and the gradient that flows into it. */
  output: usize;
  outputBatchStride: usize;
  outputHeadStride: usize;
  outputRowStride: usize;
  dOutput: usize;
  dOutputBatchStride: usize;
  dOutputHeadStride: usize;
  dOutputRowStride: usize;
  /** Those of the forward pass, [batch, queryHeads, queries, 2]. */
  statistics: usize;
  /** What flows into the log-sum-exp, [batch, queryHeads, queries]. */
  dLogSumExp: usize;

  dQuery: usize;
  dQueryBatchStride: usize;
  dQueryHeadStride: usize;
  dQueryRowStride: usize;
  dKey: usize;
  dKeyBatchStride: usize;
  dKeyHeadStride: usize;
  dKeyRowStride: usize;
  dValue: usize;
  dValueBatchStride: usize;
  dValueHeadStride: usize;
  dValueRowStride: usize;
  /** 1: added to what is there, instead of written over it. */
  addQuery: i32;
  addKey: i32;
  addValue: i32;
  /** The factor on q . k in natural units. */
  scale: f32;
  /** WeightDropoutParameters, if weights were left out. */
  dropout: usize;

  // The rest is added to what is there. Gradients of what is broadcast have strides of 0: see `sharedHeads` in the operation.
  dMask: usize;
  dMaskBatchStride: usize;
  dMaskHeadStride: usize;
  dMaskRowStride: usize;
  dMaskKeyStride: usize;
  dBias: usize;
  dBiasBatchStride: usize;
  dBiasHeadStride: usize;
  dBiasRowStride: usize;
  dBiasKeyStride: usize;
  /** [batch, queryHeads, queries + keys - 1]: of biases by distance, laid out as their table. */
  dDistances: usize;
  /** [batch, queryHeads] */
  dSinks: usize;
  /** f64 [batch, queryHeads]: of the factor on q . k. */
  dScale: usize;
}
