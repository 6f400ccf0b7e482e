// A model computed from its description in float64, with plain loops: what a description means. It knows nothing of kernels, and of
// src/ only the description and the frequencies of rotary positions.

import { rotaryFrequencies } from '../../src/ops/rotary/frequencies.js';
import type {
  BlockDescription,
  CrossAttentionDescription,
  HeadDescription,
  MatrixDescription,
  ModelDescription,
  NormDescription,
  Placement,
  ScoreDescription,
  SelfAttentionDescription,
  Source,
  StackDescription,
} from '../../src/model/description.js';

/** Values of a tensor in a checkpoint. */
export type Values = (name: string) => ArrayLike<number>;

/** One row of a batch. */
export interface ReferenceInput {
  readonly ids?: readonly number[];
  readonly types?: readonly number[] | undefined;
  readonly positions?: readonly number[] | undefined;
  /** 1 for tokens, 0 for padding. */
  readonly mask?: readonly number[] | undefined;
  readonly decoderIds?: readonly number[];
  /** [channels, height, width] */
  readonly pixels?: ArrayLike<number>;
  /** [mel bins, frames] */
  readonly features?: ArrayLike<number>;
}

type Row = Float64Array;
type Rows = Row[];

/** What was computed, by the names of the expected outputs: rows, or weights [heads][queries] of rows. */
export type ReferenceOutputs = Map<string, Rows | Rows[]>;

export function referenceModel(
  model: ModelDescription,
  values: Values,
  input: ReferenceInput,
): ReferenceOutputs {
  const outputs: ReferenceOutputs = new Map();
  const runs = new Run(values, outputs);
  if (model.kind === 'dual') {
    const { pixels, ...text } = input;
    const towers = [
      ['text_', model.text, model.textHeads, text],
      ['vision_', model.vision, model.visionHeads, { pixels }],
    ] as [string, StackDescription, readonly HeadDescription[], ReferenceInput][];
    for (const [prefix, stack, heads, own] of towers) {
      if (!own.ids && !own.pixels) continue;
      const last = runs.stack(stack, prefix, own);
      runs.heads(heads, last, own, prefix);
    }
  } else if (model.kind === 'encoder-decoder') {
    const memory = runs.stack(model.encoder, 'encoder_', input);
    const decoded = { ids: input.decoderIds! };
    const last = runs.stack(model.decoder, 'decoder_', decoded, { rows: memory, mask: input.mask });
    runs.heads(model.heads, last, decoded);
  } else {
    runs.heads(model.heads, runs.stack(model.stack, '', input), input);
    if (model.logits) {
      const [a, b] = model.logits.meanOf.map((name) => outputs.get(snake(name))![0] as Row) as [Row, Row];
      outputs.set('logits', [a.map((value, i) => (value + b[i]!) / 2)]);
    }
  }
  return outputs;
}

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

const mean = (rows: Rows): Row =>
  rows[0]!.map((_, channel) => rows.reduce((sum, row) => sum + row[channel]!, 0) / rows.length);

const softmax = (scores: Row): Row => {
  const most = Math.max(...scores);
  const powers = scores.map((score) => (most === -Infinity ? 0 : Math.exp(score - most)));
  const sum = powers.reduce((a, b) => a + b, 0);
  // A query of padding may see nothing.
  return powers.map((power) => power / (sum || 1));
};

/** Abramowitz and Stegun would be too coarse: a series for small arguments, a continued fraction for large ones. */
function erf(x: number): number {
  const a = Math.abs(x);
  if (a < 3) {
    let term = a;
    let sum = a;
    for (let n = 1; Math.abs(term) > 1e-17 * sum; n++) {
      term *= (-a * a) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / (Math.sqrt(Math.PI) * (a + fraction)));
}

const ACTIVATIONS: Readonly<Record<string, (x: number) => number>> = {
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  geluTanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  quickGelu: (x) => x / (1 + Math.exp(-1.702 * x)),
  silu: (x) => x / (1 + Math.exp(-x)),
  relu: (x) => Math.max(x, 0),
  tanh: Math.tanh,
};

interface Memory {
  readonly rows: Rows;
  readonly mask?: readonly number[] | undefined;
}

/** Queries, keys and values: [heads][tokens]. */
type Heads = Rows[];

interface Place {
  readonly positions: readonly number[];
  readonly mask?: readonly number[] | undefined;
}

class Run {
  constructor(
    readonly values: Values,
    readonly outputs: ReferenceOutputs,
  ) {}

  vector(source: Source): Row {
    return Float64Array.from(this.values(source.name));
  }

  table(source: Source, row: number): Row {
    const channels = source.shape.at(-1)!;
    return this.vector(source).slice(row * channels, (row + 1) * channels);
  }

  linear(rows: Rows, { inFeatures, outFeatures, parts }: MatrixDescription): Rows {
    const columns: { weight: Row; bias: number }[] = [];
    for (const { weight, bias } of parts) {
      const all = this.vector(weight);
      const features = all.length / inFeatures;
      const from = weight.from ?? 0;
      const biases = bias && this.vector(bias);
      for (let o = from; o < from + (weight.rows ?? features - from); o++) {
        const of = (i: number): number => all[weight.transposed ? i * features + o : o * inFeatures + i]!;
        columns.push({
          weight: Float64Array.from({ length: inFeatures }, (_, i) => of(i)),
          bias: biases?.[o] ?? 0,
        });
      }
    }
    if (columns.length !== outFeatures) throw new Error(`${columns.length} features for ${outFeatures}`);
    return rows.map((row) =>
      Float64Array.from(columns, ({ weight, bias }) => weight.reduce((sum, w, i) => sum + w * row[i]!, bias)),
    );
  }

  norm(rows: Rows, norm: NormDescription | undefined): Rows {
    if (!norm) return rows;
    const weight = norm.weight && this.vector(norm.weight);
    const bias = norm.bias && this.vector(norm.bias);
    return rows.map((row) => {
      const middle = norm.kind === 'rms' ? 0 : row.reduce((a, b) => a + b, 0) / row.length;
      const variance = row.reduce((sum, x) => sum + (x - middle) ** 2, 0) / row.length;
      return row.map((x, i) => {
        const factor = (weight?.[i] ?? 1) + (norm.unitOffset ? 1 : 0);
        return ((x - middle) / Math.sqrt(variance + norm.epsilon)) * factor + (bias?.[i] ?? 0);
      });
    });
  }

  stack(stack: StackDescription, prefix: string, input: ReferenceInput, memory?: Memory): Rows {
    const [entering, positions] = this.embed(stack, input);
    let x = entering;
    const place = { positions, mask: input.mask };
    stack.blocks.forEach((block, i) => {
      this.outputs.set(`${prefix}hidden_states.${i}`, x);
      x = this.block(block, x, place, memory, prefix, i);
    });
    x = this.norm(x, stack.norm);
    if (stack.projection) x = this.linear(x, stack.projection);
    this.outputs.set(`${prefix}last_hidden_state`, x);
    return x;
  }

  embed({ input }: StackDescription, given: ReferenceInput): [Rows, readonly number[]] {
    if (input.kind === 'tokens') {
      const ids = given.ids!;
      const count = (kept: (i: number) => boolean): number[] => {
        let seen = 0;
        return ids.map((_, i) => (kept(i) ? seen++ : -1));
      };
      const index = given.positions ?? ids.map((_, i) => i);
      const { positions: learned } = input;
      const counted =
        learned?.count === 'mask'
          ? count((i) => given.mask?.[i] !== 0)
          : learned?.count === 'padding'
            ? count((i) => ids[i] !== input.paddingId)
            : index;
      const addPositions = (rows: Rows): Rows =>
        rows.map((row, i) => plus(row, this.table(learned!.table, counted[i]! + learned!.offset)));
      let rows = ids.map((id, i) => {
        const row = this.table(input.table, id).map((x) => x * (input.factor ?? 1));
        return input.types ? plus(row, this.table(input.types, given.types?.[i] ?? 0)) : row;
      });
      if (learned && !learned.afterProjection) rows = addPositions(rows);
      rows = this.norm(rows, input.norm);
      if (input.projection) rows = this.linear(rows, input.projection);
      if (learned?.afterProjection) rows = addPositions(rows);
      return [rows, index];
    }
    let rows: Rows;
    if (input.kind === 'patches') {
      const { imageSize, patchSize, channels } = input;
      const patches: Rows = [];
      for (let y = 0; y + patchSize[0] <= imageSize[0]; y += patchSize[0]) {
        for (let x = 0; x + patchSize[1] <= imageSize[1]; x += patchSize[1]) {
          const patch: number[] = [];
          for (let c = 0; c < channels; c++)
            for (let i = 0; i < patchSize[0]; i++)
              for (let j = 0; j < patchSize[1]; j++)
                patch.push(given.pixels![(c * imageSize[0] + y + i) * imageSize[1] + x + j]!);
          patches.push(Float64Array.from(patch));
        }
      }
      rows = [...input.first.map((source) => this.vector(source)), ...this.linear(patches, input.projection)];
      rows = this.norm(
        rows.map((row, i) => plus(row, this.table(input.positions, i))),
        input.norm,
      );
    } else {
      const frames = given.features!.length / input.melBins;
      rows = Array.from({ length: frames }, (_, t) =>
        Float64Array.from({ length: input.melBins }, (_, c) => given.features![c * frames + t]!),
      );
      for (const { matrix, kernel, stride, padding, activation } of input.convolutions) {
        const windows: Rows = [];
        for (let t = -padding; t + kernel <= rows.length + padding; t += stride) {
          windows.push(
            Float64Array.from(
              { length: matrix.inFeatures },
              (_, i) => rows[t + (i % kernel)]?.[Math.floor(i / kernel)] ?? 0,
            ),
          );
        }
        rows = this.linear(windows, matrix).map((row) => row.map(ACTIVATIONS[activation]!));
      }
      rows = rows.map((row, i) => plus(row, this.table(input.positions, i)));
    }
    return [rows, rows.map((_, i) => i)];
  }

  block(
    block: BlockDescription,
    x: Rows,
    place: Place,
    memory: Memory | undefined,
    prefix: string,
    layer: number,
  ): Rows {
    const { attention, crossAttention, feedForward, parallel } = block;
    const attend = (rows: Rows): Rows =>
      this.selfAttention(attention, rows, place, `${prefix}attentions.${layer}`);
    const feed = (rows: Rows): Rows => {
      const { up, gate, down, activation } = feedForward!;
      const act = ACTIVATIONS[activation]!;
      const wide = this.linear(rows, up);
      const gates = gate && this.linear(rows, gate);
      return this.linear(
        wide.map((row, i) => row.map((value, j) => (gates ? act(gates[i]![j]!) * value : act(value)))),
        down,
      );
    };
    if (parallel) {
      const normed = this.norm(x, attention.before);
      const [a, f] = [attend(normed), feed(feedForward!.before ? this.norm(x, feedForward!.before) : normed)];
      return x.map((row, i) => plus(plus(row, a[i]!), f[i]!));
    }
    let y = this.placed(attention, x, attend);
    if (crossAttention && memory)
      y = this.placed(crossAttention, y, (rows) =>
        this.crossAttention(crossAttention, rows, memory, `cross_attentions.${layer}`),
      );
    return this.placed(feedForward!, y, feed);
  }

  placed(placement: Placement, x: Rows, sublayer: (rows: Rows) => Rows): Rows {
    const before = this.norm(x, placement.before);
    const scale = placement.layerScale && this.vector(placement.layerScale);
    const given = this.norm(sublayer(before), placement.inner);
    const residual = placement.residualAfterNorm ? before : x;
    return this.norm(
      residual.map((row, i) => row.map((value, j) => value + given[i]![j]! * (scale?.[j] ?? 1))),
      placement.after,
    );
  }

  selfAttention(a: SelfAttentionDescription, x: Rows, place: Place, name: string): Rows {
    const { heads, keyValueHeads, headDim } = a;
    const packed = this.linear(x, a.projection);
    const part = (which: 0 | 1 | 2): Rows => {
      if (a.order === 'perHead')
        return packed.map((row) =>
          Float64Array.from({ length: heads * headDim }, (_, i) => {
            return row[Math.floor(i / headDim) * 3 * headDim + which * headDim + (i % headDim)]!;
          }),
        );
      const widths = [heads, keyValueHeads, keyValueHeads].map((count) => count * headDim);
      const from = widths.slice(0, which).reduce((sum, width) => sum + width, 0);
      return packed.map((row) => row.slice(from, from + widths[which]!));
    };
    const turned = (rows: Rows, norm: NormDescription | undefined): Heads =>
      this.split(norm && norm.channels !== headDim ? this.norm(rows, norm) : rows, headDim).map((head) =>
        this.rotate(norm?.channels === headDim ? this.norm(head, norm) : head, a, place.positions),
      );
    return this.attend(
      a,
      turned(part(0), a.queryNorm),
      turned(part(1), a.keyNorm),
      this.split(part(2), headDim),
      place.mask,
      name,
    );
  }

  crossAttention(a: CrossAttentionDescription, x: Rows, memory: Memory, name: string): Rows {
    const both = this.linear(memory.rows, a.keyValue);
    const width = a.keyValueHeads * a.headDim;
    const [keys, values] = [both.map((row) => row.slice(0, width)), both.map((row) => row.slice(width))];
    const split = (rows: Rows): Heads => this.split(rows, a.headDim);
    return this.attend(a, split(this.linear(x, a.query)), split(keys), split(values), memory.mask, name);
  }

  split(rows: Rows, headDim: number): Heads {
    return Array.from({ length: rows[0]!.length / headDim }, (_, head) =>
      rows.map((row) => row.slice(head * headDim, (head + 1) * headDim)),
    );
  }

  rotate(rows: Rows, { rotary, headDim }: ScoreDescription, positions: readonly number[]): Rows {
    if (!rotary) return rows;
    const { rotaryDim = headDim, interleaved } = rotary;
    const length = Math.max(...positions) + 1;
    const { frequencies, attentionFactor } = rotaryFrequencies({ ...rotary, rotaryDim, length });
    return rows.map((row, t) => {
      const turned = row.slice();
      frequencies.forEach((frequency, pair) => {
        const [i, j] = interleaved ? [2 * pair, 2 * pair + 1] : [pair, pair + rotaryDim / 2];
        const cos = Math.cos(positions[t]! * frequency) * attentionFactor;
        const sin = Math.sin(positions[t]! * frequency) * attentionFactor;
        turned[i] = row[i]! * cos - row[j]! * sin;
        turned[j] = row[j]! * cos + row[i]! * sin;
      });
      return turned;
    });
  }

  attend(
    a: (SelfAttentionDescription | CrossAttentionDescription) & ScoreDescription,
    queries: Heads,
    keys: Heads,
    values: Heads,
    mask: readonly number[] | undefined,
    name: string,
  ): Rows {
    const weights: Rows[] = queries.map((head, h) => {
      const group = Math.floor((h * a.keyValueHeads) / a.heads);
      return head.map((query, i) =>
        softmax(Float64Array.from(keys[group]!, (key, j) => this.score(a, query, key, h, i, j, mask))),
      );
    });
    this.outputs.set(name, weights);
    const joined = queries[0]!.map((_, i) => {
      const heads = weights.map((head, h) => {
        const group = values[Math.floor((h * a.keyValueHeads) / a.heads)]!;
        return group[0]!.map((_, c) => head[i]!.reduce((sum, weight, j) => sum + weight * group[j]![c]!, 0));
      });
      return Float64Array.from(heads.flatMap((head) => [...head]));
    });
    return this.linear(joined, a.output);
  }

  score(
    a: ScoreDescription,
    query: Row,
    key: Row,
    head: number,
    i: number,
    j: number,
    mask: readonly number[] | undefined,
  ): number {
    const outside = a.window && (i - j > a.window.left || j - i > a.window.right);
    if ((a.causal && j > i) || outside || mask?.[j] === 0) return -Infinity;
    let score = query.reduce((sum, q, c) => sum + q * key[c]!, 0) * (a.scale ?? 1 / Math.sqrt(a.headDim));
    if (a.softcap !== undefined) score = a.softcap * Math.tanh(score / a.softcap);
    // Those of powers of two only: the tests have no others.
    if (a.alibi) score += 2 ** ((-8 * (head + 1)) / a.heads) * (j - i);
    const relative = a.relativePositions;
    if (relative) score += this.table(relative.table, bucketOf(j - i, relative))[head]!;
    return score;
  }

  heads(heads: readonly HeadDescription[], last: Rows, input: ReferenceInput, prefix = ''): void {
    for (const head of heads) {
      let rows =
        typeof head.of === 'string'
          ? this.choose(head, last, input)
          : (this.outputs.get(prefix + snake(head.of.head)) as Rows);
      head.steps.forEach((step) => {
        if (step.kind === 'norm') rows = this.norm(rows, step.norm);
        else {
          rows = this.linear(rows, step.matrix);
          if (step.activation) rows = rows.map((row) => row.map(ACTIVATIONS[step.activation!]!));
        }
      });
      const { factor = 1, softcap } = head;
      rows = rows.map((row) =>
        row.map((x) => (softcap ? softcap * Math.tanh((x * factor) / softcap) : x * factor)),
      );
      this.outputs.set(prefix + snake(head.name), rows);
    }
  }

  choose({ of, endTokenId }: HeadDescription, last: Rows, { ids, mask }: ReferenceInput): Rows {
    const kept = last.filter((_, i) => mask?.[i] !== 0);
    switch (of) {
      case 'tokens':
        return last;
      case 'first':
        return [last[0]!];
      case 'second':
        return [last[1]!];
      case 'last':
        return [kept.at(-1)!];
      case 'lastEnd':
        return [last[ids!.lastIndexOf(endTokenId!)]!];
      case 'end':
        return [last[endTokenId === 2 ? ids!.indexOf(Math.max(...ids!)) : ids!.indexOf(endTokenId!)]!];
      case 'mean':
        return [mean(kept)];
      case 'firstAndMean':
        return [Float64Array.from([...last[0]!, ...mean(last.slice(1))])];
      default:
        throw new Error('a head of a head');
    }
  }
}

const plus = (a: Row, b: Row): Row => a.map((value, i) => value + b[i]!);

/** T5's: half of the buckets for each distance, the others for distances by their logarithm. */
function bucketOf(
  distance: number,
  { buckets, maxDistance, bidirectional }: NonNullable<ScoreDescription['relativePositions']>,
): number {
  const count = bidirectional ? Math.floor(buckets / 2) : buckets;
  const far = bidirectional ? Math.abs(distance) : Math.max(-distance, 0);
  const base = bidirectional && distance > 0 ? count : 0;
  const exact = Math.floor(count / 2);
  if (far < exact) return base + far;
  const share = Math.log(far / exact) / Math.log(maxDistance / exact);
  return base + Math.min(exact + Math.floor(share * (count - exact)), count - 1);
}
