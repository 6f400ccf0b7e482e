// With what every tensor of a description begins. A description says which source is a weight, a bias or a norm's by where it stands;
// how wide random numbers are depends on the family. Touch: a family that begins in a way of its own.

import type {
  FrameInput,
  MatrixDescription,
  ModelDescription,
  NormDescription,
  Source,
  StackDescription,
  TokenInput,
} from '../../model/description.js';
import { ConfigReader } from '../../model/config.js';
import { stacksOf } from '../../model/parts.js';

/** What a tensor begins with. */
export type Beginning =
  | { readonly kind: 'constant'; readonly value: number }
  /** A row of it may be zeros. */
  | { readonly kind: 'normal'; readonly deviation: number; readonly zeroRow?: number | undefined }
  /** Sine and cosine of the position, in pairs or one half beside the other. */
  | { readonly kind: 'sinusoidal'; readonly order: 'pairs' | 'halves' };

/** A tensor, and what it begins with. */
export interface BegunTensor {
  readonly source: Source;
  readonly beginning: Beginning;
}

const constant = (value: number): Beginning => ({ kind: 'constant', value });

/** Families whose tables have no row for padding in transformers. */
const WITHOUT_PADDING_ROW = /^(gpt2|gptj|gpt_neox|bloom|t5|clip.*|attention_only)$/;

/** Every tensor of a model, once each. */
export function beginningsOf(config: unknown, description: ModelDescription): BegunTensor[] {
  const writer = new Beginnings(new ConfigReader(config), description);
  return [...writer.tensors.values()];
}

class Beginnings {
  readonly tensors = new Map<string, BegunTensor>();
  readonly #family: string;
  readonly #deviation: number;
  readonly #scale: number;
  readonly #paddingRow: number | undefined;

  constructor(config: ConfigReader, description: ModelDescription) {
    this.#family = description.family;
    this.#deviation = config.number('initializer_range|init_std', 0.02);
    this.#scale = config.number('initializer_factor', 1);
    const [padding = -1] = config.integers('pad_token_id', -1);
    this.#paddingRow = padding < 0 || WITHOUT_PADDING_ROW.test(this.#family) ? undefined : padding;
    for (const stack of stacksOf(description)) this.#stack(stack, config);
    if (description.kind === 'dual') {
      this.#all([...description.textHeads, ...description.visionHeads]);
      this.#add(description.logitScale, constant(config.number('logit_scale_init_value', 2.6592)));
    } else this.#all(description.heads);
  }

  #add(source: Source | undefined, beginning: Beginning): void {
    if (source && !this.tensors.has(source.name)) this.tensors.set(source.name, { source, beginning });
  }

  #stack({ embedDim, input, blocks, norm, projection }: StackDescription, config: ConfigReader): void {
    if (input.kind === 'tokens') this.#tokens(input);
    else if (input.kind === 'frames') this.#frames(input);
    else {
      for (const source of [...input.first, input.positions])
        this.#add(source, this.#normal(this.#deviation));
      this.#all([input.projection, input.norm]);
    }
    const sublayers = blocks.flatMap((block) => [block.attention, block.crossAttention, block.feedForward]);
    const count = sublayers.filter((each) => each !== undefined).length;
    const narrowed = /^(gpt2|attention_only|modernbert)$/.test(this.#family) ? 1 / Math.sqrt(count) : 1;
    const layerScale = constant(config.number('layerscale_value', 1));
    for (const sublayer of sublayers) {
      if (!sublayer) continue;
      this.#add(sublayer.layerScale, layerScale);
      if ('down' in sublayer) {
        this.#all([sublayer.up, sublayer.gate]);
        this.#matrix(sublayer.down, narrowed);
      } else {
        const queries = 'query' in sublayer ? sublayer.query : sublayer.projection;
        // T5 does not divide scores by the root of the channels: its queries begin so much smaller.
        const [query, ...others] = queries.parts;
        const own = this.#family === 't5' ? 1 / Math.sqrt(sublayer.headDim) : 1;
        this.#matrix({ ...queries, parts: [query!] }, own);
        this.#matrix({ ...queries, parts: others });
        if ('keyValue' in sublayer) this.#matrix(sublayer.keyValue);
        this.#matrix(sublayer.output, narrowed);
        const table = sublayer.relativePositions?.table;
        const deviation = this.#family === 't5' ? this.#scale / Math.sqrt(embedDim) : this.#deviation;
        this.#add(table, this.#normal(deviation));
        this.#all([sublayer.queryNorm, sublayer.keyNorm]);
      }
      this.#all([sublayer.before, sublayer.inner, sublayer.after]);
    }
    this.#all([norm, projection]);
  }

  #tokens({ table, types, positions, paddingId, norm, projection }: TokenInput): void {
    this.#add(table, this.#normal(this.#family === 't5' ? this.#scale : this.#deviation, this.#paddingRow));
    this.#add(types, this.#normal(this.#deviation));
    this.#add(
      positions?.table,
      positions?.table.fixed
        ? { kind: 'sinusoidal', order: 'pairs' }
        : this.#normal(this.#deviation, positions?.count === 'padding' ? paddingId : undefined),
    );
    this.#all([norm, projection]);
  }

  #frames({ convolutions, positions }: FrameInput): void {
    this.#all(convolutions.map(({ matrix }) => matrix));
    this.#add(positions, { kind: 'sinusoidal', order: 'halves' });
  }

  /** Norms, matrices, and the steps of heads. */
  #all(parts: readonly unknown[]): void {
    for (const part of parts) {
      if (typeof part !== 'object' || part === null) continue;
      if ('steps' in part) this.#all(part.steps as unknown[]);
      else if ('matrix' in part) this.#matrix(part.matrix as MatrixDescription);
      else if ('norm' in part) this.#norm(part.norm as NormDescription);
      else if ('parts' in part) this.#matrix(part as MatrixDescription);
      else this.#norm(part as NormDescription);
    }
  }

  #norm({ weight, bias, unitOffset }: NormDescription): void {
    this.#add(weight, constant(unitOffset ? 0 : 1));
    this.#add(bias, constant(0));
  }

  /** @param factor on the usual width */
  #matrix({ inFeatures, parts }: MatrixDescription, factor = 1): void {
    const deviation = this.#family === 't5' ? this.#scale / Math.sqrt(inFeatures) : this.#deviation;
    for (const { weight, bias } of parts) {
      this.#add(weight, this.#normal(deviation * factor));
      this.#add(bias, constant(0));
    }
  }

  #normal(deviation: number, zeroRow?: number): Beginning {
    return { kind: 'normal', deviation, zeroRow };
  }
}
