// What is taken out of a model while it computes: heads, whose output is replaced before the output projection reads it, and edges, which
// become a mask of the attention's scores. The model asks for it in each of its attentions (model/pass.ts).

import type { Stack } from '../model/layers/stack.js';
import type { Model } from '../model/model.js';
import type { Intervention, KeptKeys, Pass } from '../model/pass.js';
import type { WantedOfStack } from '../model/run.js';
import type { Range } from '../ops/attention/weights.js';
import { checkInteger, checkOptions } from '../runtime/checks.js';
import type { NamesOf } from '../runtime/checks.js';
import { invalidArgument } from '../runtime/errors.js';
import type { Tensor } from '../runtime/tensor.js';
import { WithoutEdges } from './edges.js';
import type { RemovedEdge } from './edges.js';
import { readSpan } from './spans.js';
import type { Span } from './spans.js';

/** An attention of a model. */
export interface AttentionPlace {
  /**
   * Which, where a model has more than one kind: of models with an encoder and a decoder 'decoder' (default), 'encoder' or 'cross', of
   * models of text and pictures 'text' (default) or 'vision'.
   */
  readonly attention?: 'encoder' | 'decoder' | 'cross' | 'text' | 'vision' | undefined;
  /** Block, from 0. */
  readonly layer: number;
}

/** A head that is taken out. */
export interface HeadAblation extends AttentionPlace {
  /** Query head, from 0. */
  readonly head: number;
  /**
   * What stands in for its output: 'zero' (default), or the 'mean' of its output over all tokens of the call that are no padding, which
   * keeps what is the same everywhere.
   */
  readonly by?: 'zero' | 'mean' | undefined;
  /** Of these tokens alone, by their index in the call: one, or [from, to]. Default all. */
  readonly queries?: Span | undefined;
}

/** Edges that are taken out: queries that may not see keys. What they would have given these goes to the keys that are left. */
export interface EdgeAblation extends AttentionPlace {
  /** Query head, from 0. Default all. */
  readonly head?: number | undefined;
  /** Tokens that attend, by their index in the call: one, or [from, to]. */
  readonly queries: Span;
  /** What they may not see: one, or [from, to]; after those that a cache holds, if there is one. */
  readonly keys: Span;
}

/** What is taken out of a model. */
export interface Ablation {
  /** Heads. */
  readonly heads?: readonly HeadAblation[] | undefined;
  /** Edges. */
  readonly edges?: readonly EdgeAblation[] | undefined;
}

const PLACE_NAMES = { attention: 1, layer: 1 } satisfies NamesOf<AttentionPlace>;
const HEAD_NAMES = {
  ...PLACE_NAMES,
  ...{ head: 1, by: 1, queries: 1 },
} satisfies NamesOf<HeadAblation>;
const EDGE_NAMES = {
  ...PLACE_NAMES,
  ...{ head: 1, queries: 1, keys: 1 },
} satisfies NamesOf<EdgeAblation>;

/** A head whose output is replaced. */
interface ReplacedHead {
  readonly argument: string;
  readonly head: number;
  readonly by: 'zero' | 'mean';
  readonly queries: Range | undefined;
}

/** What is taken out of one attention. */
class Removal implements Intervention {
  readonly heads: ReplacedHead[] = [];
  readonly edges: RemovedEdge[] = [];
  /** Query heads. */
  readonly #count: number;

  constructor(count: number) {
    this.#count = count;
  }

  keep(kept: KeptKeys): KeptKeys {
    if (this.edges.length === 0) return kept;
    const masks = kept.mask === undefined ? [] : [kept.mask].flat();
    return {
      keyLengths: kept.keyLengths,
      mask: [...masks, new WithoutEdges(this.edges)] as KeptKeys['mask'],
    };
  }

  change(pass: Pass, merged: Tensor<'float32'>): void {
    for (const { argument, queries } of this.heads) {
      if (queries && queries[1] > pass.length)
        throw invalidArgument(
          `${argument}.queries`,
          `at most the ${pass.length} tokens of the call`,
          queries,
        );
    }
    if (this.heads.length > 0) pass.scope.then(() => this.#replace(pass, merged));
  }

  #replace(pass: Pass, merged: Tensor<'float32'>): void {
    const { batch, length } = pass;
    const { data } = merged;
    const width = merged.shape[2]!;
    const headDim = width / this.#count;
    for (const { head, by, queries = [0, length] } of this.heads) {
      const placeOf = (b: number, token: number) => (b * length + token) * width + head * headDim;
      const output = (b: number, token: number) =>
        data.subarray(placeOf(b, token), placeOf(b, token) + headDim);
      const value = by === 'zero' ? new Float32Array(headDim) : meanOf(pass, headDim, output);
      for (let b = 0; b < batch; b++)
        for (let token = queries[0]; token < queries[1]; token++) output(b, token).set(value);
    }
  }
}

/** The mean over tokens that are no padding. */
function meanOf(
  { batch, length, kept, cached }: Pass,
  headDim: number,
  output: (batch: number, token: number) => Float32Array,
): Float32Array {
  const lengths = cached?.counts ?? kept.keyLengths;
  const mask = kept.mask as Tensor<'bool'> | undefined;
  const sum = new Float64Array(headDim);
  let count = 0;
  for (let b = 0; b < batch; b++)
    for (let token = 0; token < length; token++) {
      const isToken = mask ? mask.data[b * length + token] !== 0 : token < (lengths?.[b] ?? length);
      if (!isToken) continue;
      count++;
      output(b, token).forEach((value, i) => (sum[i]! += value));
    }
  return Float32Array.from(sum, (total) => total / Math.max(1, count));
}

/** What an ablation does in each attention of a model. Everything but the length of the call is checked here. */
export function interventionsOf(
  model: Model,
  argument: string,
  ablation: Ablation,
): WantedOfStack['interveneIn'] {
  checkOptions(ablation, { heads: 1, edges: 1 } satisfies NamesOf<Ablation>, {}, argument);
  const removals = new Map<string, Removal>();
  const keyOf = (stack: Stack, layer: number, cross: boolean) =>
    `${model.built.stacks.indexOf(stack)} ${layer} ${cross}`;
  const find = (path: string, place: AttentionPlace) => {
    const { stack, cross } = attentionOf(model, path, place);
    const { blocks } = stack.description;
    checkInteger(`${path}.layer`, place.layer, 0, blocks.length - 1);
    const { attention, crossAttention } = blocks[place.layer]!;
    const { heads } = cross ? crossAttention! : attention;
    const key = keyOf(stack, place.layer, cross);
    const removal = removals.get(key) ?? new Removal(heads);
    removals.set(key, removal);
    return { removal, heads };
  };
  readList(`${argument}.heads`, ablation.heads).forEach((given, i) => {
    const path = `${argument}.heads[${i}]`;
    checkOptions(given, HEAD_NAMES, {}, path);
    const { head, by = 'zero', queries } = given;
    const { removal, heads } = find(path, given);
    checkInteger(`${path}.head`, head, 0, heads - 1);
    if (by !== 'zero' && by !== 'mean') throw invalidArgument(`${path}.by`, "'zero' or 'mean'", by);
    const range = queries === undefined ? undefined : readSpan(`${path}.queries`, queries);
    removal.heads.push({ argument: path, head, by, queries: range });
  });
  readList(`${argument}.edges`, ablation.edges).forEach((given, i) => {
    const path = `${argument}.edges[${i}]`;
    checkOptions(given, EDGE_NAMES, {}, path);
    const { removal, heads } = find(path, given);
    if (given.head !== undefined) checkInteger(`${path}.head`, given.head, 0, heads - 1);
    const queries = readSpan(`${path}.queries`, given.queries);
    removal.edges.push({
      argument: path,
      head: given.head,
      queries,
      keys: readSpan(`${path}.keys`, given.keys),
    });
  });
  return (stack) =>
    (layer, cross = false) =>
      removals.get(keyOf(stack, layer, cross));
}

/** The stack of an attention, and whether it is that over another. */
function attentionOf(
  model: Model,
  path: string,
  { attention }: AttentionPlace,
): { stack: Stack; cross: boolean } {
  const { stacks } = model.built;
  const { kind } = model.description;
  const names =
    kind === 'dual' ? ['text', 'vision'] : kind === 'encoder-decoder' ? ['encoder', 'decoder', 'cross'] : [];
  const own = attention ?? (kind === 'dual' ? 'text' : 'decoder');
  if (attention !== undefined && !names.includes(attention)) {
    const expected =
      names.length > 0 ? names.map((name) => `'${name}'`).join(' or ') : 'none: the model has one kind';
    throw invalidArgument(`${path}.attention`, expected, attention);
  }
  if (names.length === 0) return { stack: stacks[0]!, cross: false };
  return { stack: stacks[Math.min(1, names.indexOf(own))]!, cross: own === 'cross' };
}

function readList<Item>(argument: string, list: readonly Item[] | undefined): readonly Item[] {
  if (list === undefined) return [];
  if (Array.isArray(list)) return Array.from(list as readonly Item[]);
  throw invalidArgument(argument, 'a list', list);
}
