// The parameters of a model: linear memory reserved for every matrix, table and vector of a description, each known by the tensor
// of the checkpoint that it is read from and saved to. What two places of a description name alike is held once.
//
//   reserve (matrix, table, vector)  ->  check against the checkpoint's tensors  ->  write, piece by piece  ->  read back, to save

import { PANEL } from '../../build/kernels.js';
import { readPiece, writePiece } from '../ops/linear/packing.js';
import type { FileDataType, PlacedPiece } from '../ops/linear/packing.js';
import { LinearWeights } from '../ops/linear/linear.js';
import { AttentionError, describe } from '../runtime/errors.js';
import { sameShape, sizeOf } from '../runtime/layout.js';
import type { Runtime } from '../runtime/runtime.js';
import type { Tensor } from '../runtime/tensor.js';
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

/** What a checkpoint says of a tensor. */
export interface TensorEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
}

/** Elements of a tensor, from one on, in order. Whole rows of its first axis. */
export interface Piece {
  readonly name: string;
  readonly dtype: string;
  readonly from: number;
  readonly bytes: Uint8Array;
}

/** What a checkpoint has to hold, told apart from what it does. */
export class Parameters {
  readonly #runtime: Runtime | undefined;
  readonly #slots = new Map<string, Slot[]>();
  readonly #matrices = new Map<string, LinearWeights>();
  readonly #tables = new Map<string, Table>();
  readonly #vectors = new Map<string, Tensor<'float32'>>();
  readonly #owned: { dispose(): void }[] = [];
  /** The kind of float that each tensor had in the checkpoint. */
  readonly #dtypes = new Map<string, FileDataType>();

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
    const columns = Math.ceil(outFeatures / PANEL) * PANEL;
    const biases = columns * inFeatures;
    const weights = this.#runtime
      ? this.#own(LinearWeights.reserve(this.#runtime, outFeatures, inFeatures))
      : ({ inFeatures, outFeatures, packed: { size: biases + columns } } as LinearWeights);
    let firstOut = 0;
    for (const { weight, bias } of parts) {
      const rows = rowsOfSource(weight);
      this.#add({ source: weight, target: { kind: 'matrix', weights, firstOut } });
      if (bias)
        this.#add({
          source: bias,
          target: { kind: 'floats', tensor: weights.packed, from: biases + firstOut },
        });
      firstOut += rows;
    }
    this.#matrices.set(key, weights);
    const [only] = parts;
    if (parts.length === 1 && only && isWhole(only.weight)) {
      const table = { rows: outFeatures, channels: inFeatures, packed: true, tensor: weights.packed };
      this.#tables.set(only.weight.name, table);
    }
    return weights;
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

  /** Parameters in all, each counted once. */
  get count(): number {
    let count = 0;
    for (const [{ source }] of this.#slots.values() as Iterable<[Slot]>) count += sizeOf(source.shape);
    return count;
  }

  /** Bytes of linear memory they lie in. */
  get bytes(): number {
    const tensors = new Set<Tensor>();
    for (const slots of this.#slots.values()) {
      for (const { target } of slots)
        tensors.add(target.kind === 'matrix' ? target.weights.packed : target.tensor);
    }
    let bytes = 0;
    for (const { size } of tensors) bytes += size * 4;
    return bytes;
  }

  /**
   * Compares what is read with what there is.
   *
   * @returns names of tensors that nothing reads
   * @throws AttentionError INVALID_FILE that lists all that is missing, has another shape or is no float
   */
  check(tensors: ReadonlyMap<string, TensorEntry>): string[] {
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
    if (wrong.length > 0) throw mismatch('weights', wrong);
    if (this.#runtime) for (const [name, slots] of this.#slots) if (!tensors.has(name)) fillAbsent(slots);
    return [...tensors.keys()].filter((name) => !this.#slots.has(name));
  }

  /** Writes elements of a tensor to wherever it belongs. */
  write({ name, dtype, from, bytes }: Piece): void {
    for (const slot of this.#slots.get(name) ?? []) {
      for (const piece of piecesOf(slot, from, bytes.length / (dtype === 'F32' ? 4 : 2)))
        writePiece(this.runtime, piece, dtype as FileDataType, bytes);
    }
  }

  /** The elements [from, to) of a tensor as a checkpoint holds them. */
  read(name: string, from: number, to: number, dtype: FileDataType): Uint8Array {
    const bytes = new Uint8Array((to - from) * (dtype === 'F32' ? 4 : 2));
    for (const slot of this.#slots.get(name)!) {
      for (const piece of piecesOf(slot, from, to - from)) readPiece(this.runtime, piece, dtype, bytes);
    }
    return bytes;
  }

  /** What a tensor was read as, and its shape in the checkpoint. */
  entry(name: string): TensorEntry & { readonly dtype: FileDataType } {
    return {
      dtype: this.#dtypes.get(name) ?? 'F32',
      shape: this.#slots.get(name)![0]!.source.shape,
    };
  }

  dispose(): void {
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

/** One error for all that does not fit. */
export function mismatch(argument: string, wrong: readonly string[]): AttentionError {
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

function rowsOfSource(source: Source): number {
  return source.rows ?? featuresOf(source) - (source.from ?? 0);
}

function isWhole(source: Source): boolean {
  return !source.transposed && !source.from && rowsOfSource(source) === featuresOf(source);
}

/** What a run of elements of a tensor, `count` from element `from` on, is of the place of a slot. */
function piecesOf({ source, target }: Slot, from: number, count: number): PlacedPiece[] {
  const { shape, transposed = false } = source;
  const firstRow = source.from ?? 0;
  const rows = rowsOfSource(source);
  if (target.kind === 'floats') {
    // Rows of a bias, or a tensor as it is.
    const whole = source.rows === undefined && source.from === undefined;
    const [least, most] = whole ? [0, sizeOf(shape)] : [firstRow, firstRow + rows];
    const begin = Math.max(from, least);
    const end = Math.min(from + count, most);
    if (begin >= end) return [];
    const address = target.tensor.address + (target.from + begin - least) * 4;
    return [{ kind: 'floats', first: begin - from, count: end - begin, address }];
  }
  const { weights, firstOut } = target;
  const columns = sizeOf(shape) / shape[0]!;
  const rowFrom = from / columns;
  const rowTo = rowFrom + count / columns;
  if (transposed) {
    // Rows of the tensor are inputs; its columns are output features, of which this part has some.
    const inRows = rowTo - rowFrom;
    const first = firstRow;
    return [
      { kind: 'transposed', first, stride: columns, depth: inRows, firstIn: rowFrom, rows, weights, firstOut },
    ];
  }
  const begin = Math.max(rowFrom, firstRow);
  const end = Math.min(rowTo, firstRow + rows);
  if (begin >= end) return [];
  return [
    {
      kind: 'rows',
      first: (begin - rowFrom) * columns,
      rows: end - begin,
      weights,
      firstOut: firstOut + begin - firstRow,
    },
  ];
}
