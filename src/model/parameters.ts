// The parameters of a model: linear memory reserved for every matrix, table and vector of a description, each known by the tensor
// of the checkpoint that it is read from and saved to. What two places of a description name alike is held once.
//
//   reserve (matrix, table, vector)  ->  check against the checkpoint's tensors  ->  write, piece by piece  ->  read back, to save

import { PANEL } from '../../build/kernels.js';
import {
  ELEMENT_BYTES,
  narrowElements,
  packPiece,
  unpackPiece,
  widenElements,
} from '../ops/linear/packing.js';
import type { ElementType } from '../ops/linear/packing.js';
import { ALIGNMENT } from '../runtime/allocator.js';
import { runInScope } from '../runtime/call.js';
import type { CallScope } from '../runtime/call-scope.js';
import { LinearWeights } from '../ops/linear/linear.js';
import { AttentionError, describe } from '../runtime/errors.js';
import { sameShape, sizeOf } from '../runtime/layout.js';
import type { Runtime } from '../runtime/runtime.js';
import type { Tensor } from '../runtime/tensor.js';
import type { CheckpointTensor, Piece } from '../checkpoints/checkpoint.js';
import type { MatrixDescription, Source } from './description.js';

/** A table of rows that are looked up: floats one row after the other, or packed for products as well. */
export interface Table {
  readonly rows: number;
  readonly channels: number;
  readonly packed: boolean;
  /** Where it lies. */
  readonly tensor: Tensor<'float32'>;
}

/** Where one tensor of a checkpoint, or some of its output features, belongs. */
interface Slot {
  readonly source: Source;
  /** Elements of the tensor that follow each other, or the rows and columns of a packed matrix. */
  readonly target:
    | { readonly kind: 'floats'; readonly tensor: Tensor<'float32'>; readonly from: number }
    | { readonly kind: 'matrix'; readonly weights: LinearWeights; readonly firstOut: number };
}

/** @internal Where a tensor, or a part of it, lies. */
export interface ParameterPlace {
  readonly name: string;
  readonly source: Source;
  readonly tensor: Tensor<'float32'>;
  /** The first float of it, and how many there are. */
  readonly from: number;
  readonly count: number;
  /** Of packed matrices: output features, of all of the matrix, which fills up its last panel. */
  readonly matrix?: {
    readonly firstOut: number;
    readonly rows: number;
    readonly inFeatures: number;
    readonly outFeatures: number;
  };
}

/** What a checkpoint says of a tensor. */
type TensorEntry = Pick<CheckpointTensor, 'dtype' | 'shape'>;

/** Bytes of a checkpoint that are in linear memory at once, beside where they belong. */
const CHUNK_BYTES = 256 * 1024;

/** Places for the parameters of a description, by the names of the tensors that fill them. */
export class Parameters {
  readonly #runtime: Runtime | undefined;
  readonly #slots = new Map<string, Slot[]>();
  readonly #matrices = new Map<string, LinearWeights>();
  readonly #tables = new Map<string, Table>();
  readonly #vectors = new Map<string, Tensor<'float32'>>();
  readonly #owned: { dispose(): void }[] = [];
  /** Calls that read them. */
  #holders = 0;
  #disposed = false;
  /** The kind of float that each tensor had in the checkpoint. */
  readonly #dtypes = new Map<string, ElementType>();

  /** @param runtime none: sizes are counted, and nothing is reserved */
  constructor(runtime: Runtime | undefined) {
    this.#runtime = runtime;
  }

  get runtime(): Runtime {
    return this.#runtime!;
  }

  /** Weights packed for products, and their biases. */
  matrix(description: MatrixDescription): LinearWeights {
    const key = JSON.stringify(description.parts);
    const known = this.#matrices.get(key);
    if (known) return known;
    const { inFeatures, outFeatures, parts } = description;
    const weights = this.fill(placedParts(description), this.#reserve(outFeatures, inFeatures));
    this.#matrices.set(key, weights);
    const [only] = parts;
    if (parts.length === 1 && only && isWhole(only.weight)) {
      const table = { rows: outFeatures, channels: inFeatures, packed: true, tensor: weights.packed };
      this.#tables.set(only.weight.name, table);
    }
    return weights;
  }

  #reserve(outFeatures: number, inFeatures: number): LinearWeights {
    if (this.#runtime) return this.#own(LinearWeights.reserve(this.#runtime, outFeatures, inFeatures));
    const size = Math.ceil(outFeatures / PANEL) * PANEL * (inFeatures + 1);
    return { inFeatures, outFeatures, packed: { size } } as LinearWeights;
  }

  /** @internal Names what is in weights: those that somebody else has, or room of the same size. */
  fill(
    parts: readonly (MatrixDescription['parts'][number] & { readonly firstOut: number })[],
    weights: LinearWeights | { readonly outFeatures: number; readonly inFeatures: number },
  ): LinearWeights {
    const { inFeatures, outFeatures } = weights;
    const filled = 'packed' in weights ? weights : this.#reserve(outFeatures, inFeatures);
    const biases = Math.ceil(outFeatures / PANEL) * PANEL * inFeatures;
    for (const { weight, bias, firstOut } of parts) {
      this.#add({ source: weight, target: { kind: 'matrix', weights: filled, firstOut } });
      if (bias)
        this.#add({
          source: bias,
          target: { kind: 'floats', tensor: filled.packed, from: biases + firstOut },
        });
    }
    return filled;
  }

  /** Rows to look up: a matrix that was reserved before and is the same tensor serves as well. */
  table(source: Source): Table {
    const known = this.#tables.get(source.name);
    if (known) return known;
    const [rows, channels] = source.shape.slice(-2) as [number, number];
    const tensor = this.#place([rows, channels]);
    this.#add({ source, target: { kind: 'floats', tensor, from: 0 } });
    const table = { rows, channels, packed: false, tensor };
    this.#tables.set(source.name, table);
    return table;
  }

  /** Elements as they follow each other. */
  vector(source: Source | undefined): Tensor<'float32'> | undefined {
    if (!source) return undefined;
    const key = JSON.stringify(source);
    const known = this.#vectors.get(key);
    if (known) return known;
    const tensor = this.#place([sizeOf(source.shape)]);
    this.#add({ source, target: { kind: 'floats', tensor, from: 0 } });
    this.#vectors.set(key, tensor);
    return tensor;
  }

  /** Names of the tensors that are read. */
  get names(): string[] {
    return [...this.#slots.keys()];
  }

  /** Names of the tensors that were there when they were read. */
  get readNames(): string[] {
    return [...this.#dtypes.keys()];
  }

  /** @internal What lies where. */
  *places(): Generator<ParameterPlace, void, undefined> {
    for (const [name, slots] of this.#slots) {
      for (const { source, target } of slots) {
        const rows = rowsOfSource(source);
        if (target.kind === 'floats') {
          const whole = source.rows === undefined && source.from === undefined;
          const count = whole ? sizeOf(source.shape) : rows;
          yield { name, source, tensor: target.tensor, from: target.from, count };
        } else {
          const { weights, firstOut } = target;
          const { packed: tensor, inFeatures, outFeatures } = weights;
          yield {
            name,
            source,
            tensor,
            from: firstOut * inFeatures,
            count: rows * inFeatures,
            matrix: { firstOut, rows, inFeatures, outFeatures },
          };
        }
      }
    }
  }

  /** @internal What they lie in, each once. */
  get tensors(): ReadonlySet<Tensor<'float32'>> {
    const tensors = new Set<Tensor<'float32'>>();
    for (const slots of this.#slots.values()) {
      for (const { target } of slots)
        tensors.add(target.kind === 'matrix' ? target.weights.packed : target.tensor);
    }
    return tensors;
  }

  /** Parameters in all, each counted once. */
  get count(): number {
    let count = 0;
    for (const [{ source }] of this.#slots.values() as Iterable<[Slot]>) count += sizeOf(source.shape);
    return count;
  }

  /** Bytes of linear memory they lie in. */
  get bytes(): number {
    let bytes = 0;
    for (const { size } of this.tensors) bytes += size * 4;
    return bytes;
  }

  /** Bytes that placing and filling them takes in all. */
  get room(): number {
    return this.bytes + ALIGNMENT * this.#slots.size + 2 * CHUNK_BYTES;
  }

  /**
   * Compares what is read with what there is.
   *
   * @param isLeftOver which of the tensors that nothing reads should not be there
   * @returns names of tensors that nothing reads
   * @throws AttentionError INVALID_FILE that lists all that is missing, has another shape, is no float or is left over
   */
  check(tensors: ReadonlyMap<string, TensorEntry>, isLeftOver?: (name: string) => boolean): string[] {
    const wrong: string[] = [];
    for (const [name, slots] of this.#slots) {
      const entry = tensors.get(name);
      const { source } = slots[0]!;
      if (!entry) {
        if (source.absent === undefined) wrong.push(`${name} ${describe(source.shape)} is missing`);
        continue;
      }
      if (!sameShape(entry.shape, source.shape))
        wrong.push(`${name} has the shape ${describe(entry.shape)} in place of ${describe(source.shape)}`);
      if (entry.dtype !== 'F32' && entry.dtype !== 'F16' && entry.dtype !== 'BF16')
        wrong.push(`${name} has elements of type ${entry.dtype} in place of F32, F16 or BF16`);
      else this.#dtypes.set(name, entry.dtype);
    }
    const unread = [...tensors.keys()].filter((name) => !this.#slots.has(name));
    const leftOver = isLeftOver ? unread.filter(isLeftOver) : [];
    if (leftOver.length > 0)
      wrong.push(`the model has no use for ${leftOver.join(', ')}; { leftOver: 'ignore' } leaves them aside`);
    if (wrong.length > 0) throw mismatch('weights', wrong);
    if (this.#runtime) for (const [name, slots] of this.#slots) if (!tensors.has(name)) fillAbsent(slots);
    return unread;
  }

  /** Writes elements of a tensor to wherever it belongs, some rows at a time, so that little memory is needed besides. */
  write({ name, dtype, from, bytes }: Piece): void {
    const slots = this.#slots.get(name);
    if (!slots) return;
    const type = dtype as ElementType;
    if (type === 'F32' && slots.every(({ target }) => target.kind === 'floats')) {
      for (const slot of slots) copyFloats(this.runtime, slot, from, bytes);
      return;
    }
    this.#chunked(slots[0]!, bytes, type, (scope, address, first, count) => {
      for (const slot of slots) move(scope, slot, 'in', { address, type, from: from + first, count });
    });
  }

  /** The elements [from, to) of a tensor, whole rows of it, as a checkpoint holds them. */
  read(name: string, from: number, to: number, type: ElementType): Uint8Array {
    const slots = this.#slots.get(name)!;
    const bytes = new Uint8Array((to - from) * ELEMENT_BYTES[type]);
    this.#chunked(slots[0]!, bytes, type, (scope, address, first, count) => {
      for (const slot of slots) move(scope, slot, 'out', { address, type, from: from + first, count });
      return true;
    });
    return bytes;
  }

  /** Hands over elements in linear memory, whole rows of a tensor's first axis; takes them back where `action` says so. */
  #chunked(
    { source: { shape } }: Slot,
    bytes: Uint8Array,
    type: ElementType,
    action: (scope: CallScope, address: number, first: number, count: number) => boolean | void,
  ): void {
    const rowBytes = Math.max(1, sizeOf(shape.slice(1))) * ELEMENT_BYTES[type];
    const step = Math.max(1, Math.floor(CHUNK_BYTES / rowBytes)) * rowBytes;
    for (let at = 0; at < bytes.length; at += step) {
      const chunk = bytes.subarray(at, at + step);
      runInScope(this.runtime, (scope) => {
        const address = scope.allocate(chunk.length);
        const place = () => new Uint8Array(this.runtime.linearMemory.buffer, address, chunk.length);
        place().set(chunk);
        const size = ELEMENT_BYTES[type];
        if (action(scope, address, at / size, chunk.length / size)) chunk.set(place());
      });
    }
  }

  /** What a tensor was read as, and its shape in the checkpoint. */
  entry(name: string): TensorEntry & { readonly dtype: ElementType } {
    return {
      dtype: this.#dtypes.get(name) ?? 'F32',
      shape: this.#slots.get(name)![0]!.source.shape,
    };
  }

  /** Keeps them until the call is over, even if they are disposed before. */
  hold(scope: CallScope): void {
    this.#holders++;
    scope.onEnd(() => {
      if (--this.#holders === 0 && this.#disposed) this.#free();
    });
  }

  dispose(): void {
    this.#disposed = true;
    if (this.#holders === 0) this.#free();
  }

  #free(): void {
    for (const owned of this.#owned) owned.dispose();
    this.#owned.length = 0;
  }

  #place(shape: readonly number[]): Tensor<'float32'> {
    const counted = { shape, size: sizeOf(shape) } as unknown as Tensor<'float32'>;
    return this.#runtime ? this.#own(this.#runtime.place(shape)) : counted;
  }

  #own<Owned extends { dispose(): void }>(owned: Owned): Owned {
    this.#owned.push(owned);
    return owned;
  }

  #add(slot: Slot): void {
    const slots = this.#slots.get(slot.source.name);
    if (slots) slots.push(slot);
    else this.#slots.set(slot.source.name, [slot]);
  }
}

/** Parts of a matrix, with the first output feature of each. */
export function placedParts({ parts }: MatrixDescription) {
  let rows = 0;
  return parts.map((part) => {
    const firstOut = rows;
    rows += rowsOfSource(part.weight);
    return { ...part, firstOut };
  });
}

/** One error for all that does not fit. */
function mismatch(argument: string, wrong: readonly string[]): AttentionError {
  const listed = wrong.length > 1 ? `\n  ${wrong.join('\n  ')}` : ` ${wrong[0]}`;
  return new AttentionError({
    code: 'INVALID_FILE',
    argument,
    message: `${argument}: the checkpoint is not that of the config:${listed}`,
  });
}

function fillAbsent(slots: readonly Slot[]): void {
  for (const { source, target } of slots) {
    if (target.kind === 'floats')
      target.tensor.data.fill(source.absent!, target.from, target.from + sizeOf(source.shape));
  }
}

/** Output features that a source has in all. */
function featuresOf({ shape, transposed }: Source): number {
  return shape.length === 1 ? shape[0]! : transposed ? shape[1]! : shape[0]!;
}

export function rowsOfSource(source: Source): number {
  return source.rows ?? featuresOf(source) - (source.from ?? 0);
}

function isWhole(source: Source): boolean {
  return !source.transposed && !source.from && rowsOfSource(source) === featuresOf(source);
}

/** Elements of a tensor in linear memory: whole rows of its first axis. */
interface Run {
  readonly address: number;
  readonly type: ElementType;
  readonly from: number;
  readonly count: number;
}

/** A slot whose elements follow each other. */
interface FloatSlot {
  readonly source: Source;
  readonly target: Slot['target'] & { readonly kind: 'floats' };
}

/** Elements [begin, end) of a tensor that a run of them has in common with a slot, and where they lie. */
function commonFloats({ source, target }: FloatSlot, from: number, count: number) {
  const firstRow = source.from ?? 0;
  const whole = source.rows === undefined && source.from === undefined;
  const [least, most] = whole ? [0, sizeOf(source.shape)] : [firstRow, firstRow + rowsOfSource(source)];
  const begin = Math.max(from, least);
  const end = Math.min(from + count, most);
  return { begin, end, place: target.tensor.address + (target.from + begin - least) * 4 };
}

/** What is float already goes to its place without a stop. */
function copyFloats({ linearMemory }: Runtime, slot: Slot, from: number, bytes: Uint8Array): void {
  const { begin, end, place } = commonFloats(slot as FloatSlot, from, bytes.length / 4);
  if (begin >= end) return;
  const run = bytes.subarray((begin - from) * 4, (end - from) * 4);
  new Uint8Array(linearMemory.buffer, place, run.length).set(run);
}

/** What a run of elements has in common with a slot goes to its place, or comes from there. */
function move(
  scope: CallScope,
  { source, target }: Slot,
  way: 'in' | 'out',
  { address, type, from, count }: Run,
): void {
  const { shape, transposed = false } = source;
  const firstRow = source.from ?? 0;
  const rows = rowsOfSource(source);
  const size = ELEMENT_BYTES[type];
  if (target.kind === 'floats') {
    const { begin, end, place } = commonFloats({ source, target }, from, count);
    const run = address + (begin - from) * size;
    if (begin >= end) return;
    if (way === 'in') widenElements(scope, run, type, end - begin, place);
    else narrowElements(scope, place, type, end - begin, run);
    return;
  }
  const { weights, firstOut } = target;
  const columns = sizeOf(shape) / shape[0]!;
  const rowFrom = from / columns;
  const rowTo = rowFrom + count / columns;
  const rowBytes = columns * size;
  const shift = way === 'in' ? packPiece : unpackPiece;
  if (transposed) {
    shift(scope, weights, {
      address: address + firstRow * size,
      dtype: type,
      transposed,
      rowBytes,
      firstOut,
      outs: rows,
      firstIn: rowFrom,
      ins: rowTo - rowFrom,
    });
    return;
  }
  const begin = Math.max(rowFrom, firstRow);
  const end = Math.min(rowTo, firstRow + rows);
  if (begin >= end) return;
  shift(scope, weights, {
    address: address + (begin - rowFrom) * rowBytes,
    dtype: type,
    rowBytes,
    firstOut: firstOut + begin - firstRow,
    outs: end - begin,
  });
}
