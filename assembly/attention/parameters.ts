// What a call of attention is: pointers, strides and sizes. Strides are bytes. A pointer of 0 means "none". Kernels only read
// it. The build tells TypeScript where each word is (build/kernels.ts).

/** What every kernel of attention reads: queries, keys, and what becomes of their scores. */
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

  batch: i32;
  queryHeads: i32;
  keyHeads: i32;
  queries: i32;
  keys: i32;
  headDim: i32;

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
  /** Keys before this one are seen whatever rowBegin says (attention sinks of a sliding window). */
  firstKeys: i32;

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

  /** One float per query head, natural units: exp(sink) joins the denominator. */
  sinks: usize;

  /** i32 [query block][key block]: 0 empty, 1 full, else the address of bits, 16 bytes per query of the block. */
  blocks: usize;
  blocksBatchStride: usize;
  blocksHeadStride: usize;

  /** Keys and values in pages instead of tensors: PageParameters. */
  pages: usize;
}

/** Keys and values in pages (cache/page.ts). */
@unmanaged
export class PageParameters {
  /** i32 [batch][key block]: addresses, 0 where no page is held. */
  table: usize;
  batchStride: usize;
  /** FLOAT32, FLOAT16 or INT8. */
  storage: i32;
  /** Channels of values: where the heads of a page begin depends on it. */
  valueHeadDim: i32;
  /** Bytes in use of all the memory: whether pages may still lie in a cache from the call before. */
  memoryBytes: u32;
}

/** What the forward pass reads and writes besides. */
@unmanaged
export class ForwardParameters {
  /** Unless there are pages. */
  value: usize;
  valueBatchStride: usize;
  valueHeadStride: usize;
  valueRowStride: usize;
  valueHeadDim: i32;
  output: usize;
  outputBatchStride: usize;
  outputHeadStride: usize;
  outputRowStride: usize;
  /** [batch, queryHeads, queries, 2]: maximum and sum of the softmax, in powers of two. */
  statistics: usize;
  /** [batch, queryHeads, queries], natural. */
  logSumExp: usize;
}

/** Which of the weights are looked at, and where to what is seen of them goes. */
@unmanaged
export class RegionParameters {
  /** Those of the forward pass. */
  statistics: usize;
  /** Element [batch, head, query] or [batch, head, key], counted from the region's corner. */
  output: usize;
  outputBatchStride: usize;
  outputHeadStride: usize;
  outputRowStride: usize;
  headFrom: i32;
  headTo: i32;
  queryFrom: i32;
  queryTo: i32;
  keyFrom: i32;
  keyTo: i32;
  /** Of `attentionWeights`: SCORES or WEIGHTS. */
  mode: i32;
  /** Of `topKeys`: keys per row. */
  count: i32;
}
