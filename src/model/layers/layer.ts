// What public layers have in common: parameters by name, loaded at once, and a call.

import { shapeOf, valuesOf } from '../../checkpoints/state-dict.js';
import type { StateDictTensor } from '../../checkpoints/state-dict.js';
import { checkObject } from '../../runtime/checks.js';
import { Disposable } from '../../runtime/disposable.js';
import { AttentionError } from '../../runtime/errors.js';
import { checkRuntime } from '../../runtime/inputs.js';
import type { Runtime } from '../../runtime/runtime.js';
import type {
  BlockDescription,
  FeedForwardDescription,
  NormDescription,
  TokenInput,
} from '../description.js';
import type { LayerRotary } from '../../ops/rotary/layer-rotary.js';
import { Parameters } from '../parameters.js';

/** What a layer is made of: blocks and a norm after them, or one of the others alone. */
export interface LayerDescription {
  /** Of a row. */
  readonly channels: number;
  readonly blocks?: readonly BlockDescription[];
  readonly feedForward?: FeedForwardDescription;
  readonly norm?: NormDescription;
  readonly input?: TokenInput;
  /** Rotates what blocks say is rotated. */
  readonly Rotary?: typeof LayerRotary;
}

/** A layer with parameters of its own, named by what they are. */
export abstract class Layer extends Disposable {
  /** Where the weights are. */
  readonly runtime: Runtime;
  /** @internal */
  readonly parameters: Parameters;
  /** @internal */
  abstract readonly description: LayerDescription;
  #leftAside: readonly string[] = [];
  #state: 'empty' | 'loaded' | 'disposed' = 'empty';

  /** @internal */
  constructor(runtime: Runtime) {
    super();
    checkRuntime(runtime);
    this.runtime = runtime;
    this.parameters = new Parameters(runtime);
  }

  /** @internal Makes parts of the layer; what they have reserved is given back if one fails. */
  protected reserve<Part>(make: (parameters: Parameters) => Part): Part {
    try {
      return make(this.parameters);
    } catch (error) {
      this.parameters.dispose();
      throw error;
    }
  }

  /** Number of weights and biases. */
  get parameterCount(): number {
    return this.parameters.count;
  }

  /** Names of the parameters, without a prefix. */
  get parameterNames(): readonly string[] {
    return this.parameters.names;
  }

  /** Names under the prefix of the last `load` that this layer has no use for. */
  get leftAside(): readonly string[] {
    return this.#leftAside;
  }

  /**
   * Takes weights by name: those of `parameterNames`, after the prefix and a dot. On an error the weights loaded before stay.
   *
   * @throws AttentionError INVALID_FILE that lists all that is missing or has another shape; INVALID_DTYPE
   */
  load(stateDict: Readonly<Record<string, StateDictTensor>>, prefix = ''): this {
    this.checkLive();
    checkObject('stateDict', stateDict, 'an object of tensors by name');
    const start = prefix && `${prefix}.`;
    const own = Object.keys(stateDict).filter((name) => name.startsWith(start));
    const entries = own.map(
      (name) => [name.slice(start.length), { dtype: 'F32', shape: shapeOf(stateDict, name) }] as const,
    );
    const leftAside = this.parameters.check(new Map(entries));
    const known = this.parameters.names.filter((name) => stateDict[start + name] !== undefined);
    const values = known.map((name) => valuesOf(stateDict, start + name, shapeOf(stateDict, start + name)));
    known.forEach((name, i) => {
      // A view of linear memory could lose its ground while weights are placed.
      const { buffer, byteOffset, byteLength } = this.runtime.linearMemory.apart(values[i]!);
      this.parameters.write({
        name,
        dtype: 'F32',
        from: 0,
        bytes: new Uint8Array(buffer, byteOffset, byteLength),
      });
    });
    this.#state = 'loaded';
    this.#leftAside = leftAside.map((name) => start + name);
    return this;
  }

  /** Frees the weights. Safe to repeat. */
  dispose(): void {
    this.#state = 'disposed';
    this.parameters.dispose();
  }

  /** @internal Throws DISPOSED. */
  protected checkLive(): void {
    this.runtime.check();
    if (this.#state === 'disposed')
      throw new AttentionError({ code: 'DISPOSED', message: 'the layer was disposed' });
  }

  /** @internal Throws unless there are weights. */
  checkLoaded(): void {
    this.checkLive();
    if (this.#state === 'loaded' || this.parameters.count === 0) return;
    throw new AttentionError({ code: 'INVALID_STATE', message: 'the layer has no weights: call load first' });
  }
}
