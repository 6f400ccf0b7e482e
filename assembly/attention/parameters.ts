// What a call of attention is: pointers, strides and sizes. Strides are bytes. A pointer of 0 means "none". Kernels only read
// it. The build tells src/ops/attention/parameters.ts where each word is.

@unmanaged
export class AttentionParameters {
  // Tensors: element [batch, head, row, 0] lies at pointer + batch, head and row strides; the last axis is contiguous.
  query: usize;
  queryBatchStride: usize;
  queryHeadStride: usize;
  queryRowStride: usize;
  key: usize;
  keyBatchStride: usize;
  keyHeadStride: usize;
  keyRowStride: usize;
  value: usize;
  valueBatchStride: usize;
  valueHeadStride: usize;
  valueRowStride: usize;
  /** forward: [.., valueHeadDim]; weights: [.., keyTo - keyFrom] of the region. */
  output: usize;
  outputBatchStride: usize;
  outputHeadStride: usize;
  outputRowStride: usize;
  /** [batch, queryHeads, queries, 2]: maximum and sum of the softmax, in powers of two. Written by forward. */
  statistics: usize;
  /** [batch, queryHeads, queries], natural. Written by forward. */
  logSumExp: usize;

  batch: i32;
  queryHeads: i32;
  keyHeads: i32;
  queries: i32;
  keys: i32;
  headDim: i32;
  valueHeadDim: i32;

  /** Factor on q: scale * log2(e), or scale / softcap where there is one. */
  scoreScale: f32;
  /** s = softcap * tanh(s); 0 is none. In units of the score (log2(e) included). */
  softcap: f32;
  /** Factor on biases and float masks: log2(e), or 1 for scores in natural units. */
  biasScale: f32;

  /** Row i may see keys rowBegin[i] <= j < rowEnd[i] (i32); both or neither are given. */
  rowBegin: usize;
  rowEnd: usize;
  rowIntervalBatchStride: usize;
  rowIntervalHeadStride: usize;

  /** One byte an element, 0 removes. */
  booleanMask: usize;
  booleanMaskBatchStride: usize;
  booleanMaskHeadStride: usize;
  booleanMaskRowStride: usize;

  /** Added to the score; -infinity removes. Stride may be negative (a table by distance). */
  bias: usize;
  biasBatchStride: usize;
  biasHeadStride: usize;
  biasRowStride: usize;
  secondBias: usize;
  secondBiasBatchStride: usize;
  secondBiasHeadStride: usize;
  secondBiasRowStride: usize;

  /** One float a query head, natural units: exp(sink) joins the denominator. */
  sinks: usize;

  /** i32 [query block][key block]: 0 empty, 1 full, else the address of bits, 16 bytes a query of the block. */
  blocks: usize;
  blocksBatchStride: usize;
  blocksHeadStride: usize;

  /** The part of the weights asked for; forward takes all. */
  headFrom: i32;
  headTo: i32;
  queryFrom: i32;
  queryTo: i32;
  keyFrom: i32;
  keyTo: i32;
  /** What `weights` does with a row of scores: see weights.ts. */
  mode: i32;
  /** Keys a row for `topKeys`. */
  count: i32;

  /** Keys and values in pages (cache/page.ts) instead of `key` and `value`: i32 [batch][key block], 0 where none is held. */
  pages: usize;
  pagesBatchStride: usize;
  /** FLOAT32, FLOAT16 or INT8. */
  storage: i32;
  /** Keys before this one are seen whatever rowBegin says (attention sinks of a sliding window). */
  firstKeys: i32;
  /** Bytes in use of all the memory: whether pages may still lie in a cache from the call before. */
  memoryBytes: u32;
}
