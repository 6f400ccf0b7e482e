// A call's inputs as a message: arrays are copied (or given away, if asked), handles and masks become references.

import { AttentionError, describe } from '../runtime/errors.js';
import type { Path, Reference } from './protocol.js';

/** Deeper than any option or state dict; stops at objects that contain themselves. */
const DEEPEST = 16;

export interface PackedInputs {
  readonly inputs: Record<string, unknown>;
  readonly references: Reference[];
  readonly transfers: ArrayBuffer[];
}

/**
 * @param inputs   by the names the caller knows them by
 * @param transfer give the arrays called `data` away instead of copying them
 * @param handleOf number of a handle, undefined for any other object; throws for a handle that cannot be used
 */
export function packInputs(
  inputs: Record<string, unknown>,
  transfer: boolean,
  handleOf: (argument: string, value: object) => number | undefined,
): PackedInputs {
  const references: Reference[] = [];
  const transfers = new Set<ArrayBuffer>();
  return { inputs: packRecord(inputs, []), references, transfers: [...transfers] };

  function pack(value: unknown, path: Path): unknown {
    if (typeof value === 'function' || typeof value === 'symbol') throw cannotCross(path, value);
    if (typeof value !== 'object' || value === null) return value;
    const handle = handleOf(nameOf(path), value);
    if (handle !== undefined) {
      references.push({ path, handle });
      return null;
    }
    if (ArrayBuffer.isView(value)) return packArray(value, path);
    if (value instanceof URL) return value.href;
    if (isMask(value)) return packMask(value, path);
    if (Array.isArray(value)) return packList(value, path);
    if (isTensorLike(value)) return packTensor(value, path);
    // What the engine has a kind of its own for (buffers, dates, maps) it copies itself, or refuses to.
    const isRecord = Object.prototype.toString.call(value) === '[object Object]';
    if (isRecord) return packRecord(value as Record<string, unknown>, path);
    if (value instanceof MessagePort) transfers.add(value as never);
    return value;
  }

  function packRecord(record: Record<string, unknown>, path: Path): Record<string, unknown> {
    checkDepth(path, record);
    // Without a prototype: `__proto__` is a name like any other.
    const packed = Object.create(null) as Record<string, unknown>;
    for (const key of Object.keys(record)) {
      const value = record[key];
      if (value !== undefined) packed[key] = pack(value, [...path, key]);
    }
    return packed;
  }

  function packList(list: readonly unknown[], path: Path): readonly unknown[] {
    checkDepth(path, list);
    const plain = list.every((item) => typeof item === 'number' || typeof item === 'boolean');
    return plain ? list : list.map((item, index) => pack(item, [...path, index]));
  }

  function packTensor(value: TensorLike, path: Path): unknown {
    return {
      data: pack(value.dataSync?.() ?? value.data, [...path, 'data']),
      shape: pack(value.shape ?? value.dims, [...path, 'shape']),
      type: value.type, // 'float16' tells how a Uint16Array is to be read
    };
  }

  function packMask(mask: MaskLike, path: Path): unknown {
    if (mask.recipe === undefined) {
      throw new AttentionError({
        code: 'UNSUPPORTED',
        argument: nameOf(path),
        expected: 'a mask without functions of your own (denseMask holds what one of them would answer)',
        received: describe(mask),
      });
    }
    const [name, ...given] = mask.recipe;
    const packed = packList(given, path);
    references.push({ path, mask: name, id: maskId(mask) });
    return packed;
  }

  /** A copy has a buffer of its own, which is transferred: one copy in all, and never more than the view. */
  function packArray(view: ArrayBufferView, path: Path): ArrayBufferView {
    const give = transfer && path.at(-1) === 'data';
    let sent = view;
    if (!give || !(view.buffer instanceof ArrayBuffer)) {
      try {
        sent = copyOf(view);
      } catch (cause) {
        throw new AttentionError({
          code: 'INVALID_ARGUMENT',
          argument: nameOf(path),
          expected: 'an array that can be copied',
          received: `${describe(view)}: ${String((cause as Error).message)}`,
          cause,
        });
      }
    }
    transfers.add(sent.buffer as ArrayBuffer);
    return sent;
  }
}

interface TensorLike {
  readonly data?: unknown;
  readonly dataSync?: () => unknown;
  readonly type?: unknown;
  readonly shape?: unknown;
  readonly dims?: unknown;
}

/** Tensors of other libraries (TensorFlow.js has `dataSync`) are objects with getters, which the structured clone algorithm would lose. */
function isTensorLike(value: object): value is TensorLike {
  return ('data' in value || 'dataSync' in value) && ('shape' in value || 'dims' in value);
}

interface MaskLike {
  readonly recipe?: readonly [string, ...unknown[]] | undefined;
}

const maskIds = new WeakMap<MaskLike, number>();
let nextMaskId = 1;

function maskId(mask: MaskLike): number {
  const id = maskIds.get(mask) ?? nextMaskId++;
  maskIds.set(mask, id);
  return id;
}

/** By what it can do, not by its class: a mask may come from another copy of the package. */
function isMask(value: object): value is MaskLike {
  return 'keeps' in value && typeof value.keeps === 'function' && !Array.isArray(value);
}

function copyOf(view: ArrayBufferView): ArrayBufferView {
  // The slice of a Node Buffer is no copy.
  if (view instanceof Uint8Array) return new Uint8Array(view);
  if (view instanceof DataView) return new DataView(view.buffer.slice(view.byteOffset), 0, view.byteLength);
  return (view as Float32Array).slice();
}

function checkDepth(path: Path, value: unknown): void {
  if (path.length > DEEPEST) throw cannotCross(path.slice(0, 3), value);
}

function cannotCross(path: Path, value: unknown): AttentionError {
  return new AttentionError({
    code: 'UNSUPPORTED',
    argument: nameOf(path),
    expected: 'a value that can be copied to a worker',
    received: describe(value),
  });
}

/** An argument by the name that operations call it by in their errors: options go without a prefix. */
export function nameOf(path: Path): string {
  const [first, ...rest] = path[0] === 'options' && path.length > 1 ? path.slice(1) : path;
  return rest.reduce<string>(
    (name, part) => (typeof part === 'number' ? `${name}[${part}]` : `${name}.${part}`),
    String(first),
  );
}
