// A stack: what makes rows of the input, the blocks that change them, and the last norm.

import { runFusedLinear } from '../../ops/linear/fused-linear.js';
import type { LinearWeights } from '../../ops/linear/linear.js';
import type { Tensor } from '../../runtime/tensor.js';
import type { StackDescription } from '../description.js';
import type { Parameters } from '../parameters.js';
import type { Pass, Rows } from '../pass.js';
import type { Parts } from '../parts.js';
import { Rotations } from './attention.js';
import { Block } from './block.js';
import { TokenEmbedding } from './input.js';
import { bindNorm } from './bound-norm.js';
import type { Norm } from './bound-norm.js';
import type { SignalInput } from './signals.js';

export class Stack {
  readonly description: StackDescription;
  readonly tokens: TokenEmbedding | undefined;
  readonly signals: SignalInput | undefined;
  readonly blocks: readonly Block[];
  /** Channels of what comes out. */
  readonly channels: number;
  readonly #norm: Norm | undefined;
  readonly #projection: LinearWeights | undefined;
  readonly #rotations: Rotations;

  constructor(parameters: Parameters, description: StackDescription, parts: Parts) {
    this.description = description;
    this.#rotations = new Rotations(parts.Rotary);
    const { input } = description;
    if (input.kind === 'tokens') this.tokens = new TokenEmbedding(parameters, input);
    else this.signals = parts.signalInput!(parameters, input);
    this.blocks = description.blocks.map(
      (block) => new Block(parameters, block, this.#rotations, parts.both?.CrossAttention),
    );
    this.#norm = bindNorm(parameters, description.norm);
    this.#projection = description.projection && parameters.matrix(description.projection);
    this.channels = this.#projection?.outFeatures ?? description.embedDim;
  }

  /** Whether the rows of the last block are what comes out. */
  get endsBare(): boolean {
    return !this.#norm && !this.#projection;
  }

  /** The blocks, over rows in place. `before` is called with the number of the block that follows; and after the last one. */
  run(pass: Pass, x: Rows, before?: (block: number) => void): void {
    this.blocks.forEach((block, i) => {
      before?.(i);
      block.run(pass, i, x);
    });
    before?.(this.blocks.length);
  }

  /** The last norm and projection of some rows; x itself where there is neither. */
  finish(pass: Pass, x: Rows, target?: Rows): Rows {
    if (this.endsBare) return x;
    const { scope } = pass;
    const { embedDim } = this.description;
    let rows = x;
    if (this.#norm) {
      rows = this.#projection || !target ? pass.buffer('finished', embedDim, x.rows) : target;
      this.#norm.run(scope, x, rows);
    }
    if (!this.#projection) return rows;
    const projected = target ?? pass.buffer('projected', this.channels, x.rows);
    const columns = { from: 0, to: this.channels };
    if (x.rows > 0) runFusedLinear(scope, rows, this.#projection, columns, projected, {});
    return projected;
  }

  dispose(): void {
    this.#rotations.dispose();
  }
}

/** The rows of a tensor, all axes but the last. */
export function rowsOfTensor(tensor: Tensor): Rows & { readonly channels: number } {
  const channels = tensor.shape.at(-1)!;
  return { address: tensor.address, rowBytes: channels * 4, rows: tensor.size / channels, channels };
}
