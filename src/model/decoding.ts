// The key/value caches of decoders. Loaded with them: see parts.ts.

import { KeyValueCache } from '../cache/key-value-cache.js';
import type { KeyValueCacheOptions } from '../cache/key-value-cache.js';
import { checkInstance, checkOptions } from '../runtime/checks.js';
import type { Model } from './model.js';

type Options = Pick<KeyValueCacheOptions, 'batch' | 'capacity' | 'storage'>;

/** `createCache`. */
export function createCache(model: Model, options: Options): KeyValueCache {
  checkOptions(options, { batch: 1, capacity: 1, storage: 1 });
  return newCache(model, 'attention', options);
}

/** A cache for one of the decoder's attentions. */
export function newCache(
  model: Model,
  which: 'attention' | 'crossAttention',
  options: Options,
): KeyValueCache {
  return new KeyValueCache(model.runtime, { ...sizesOf(model, which), ...options });
}

/** Whether a cache has the sizes of this model, and is in its runtime. */
export function isOwn(model: Model, argument: string, cache: KeyValueCache): boolean {
  const { layout, runtime } = checkInstance(argument, cache, KeyValueCache);
  const { layers, numKeyValueHeads, headDim } = sizesOf(model, 'attention');
  return (
    runtime === model.runtime &&
    layout.layers === layers &&
    layout.numKeyValueHeads === numKeyValueHeads &&
    layout.headDim === headDim &&
    layout.valueHeadDim === headDim
  );
}

function sizesOf({ decoder }: Model, which: 'attention' | 'crossAttention') {
  const { blocks } = decoder.description;
  const { keyValueHeads: numKeyValueHeads, headDim } = blocks[0]![which]!;
  return { layers: blocks.length, numKeyValueHeads, headDim };
}
