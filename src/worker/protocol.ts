// What passes between a program and its worker. Every message is a plain object that the structured clone algorithm can
// copy; what cannot be copied (handles, masks) is named by a reference that says where in the message it stands.

import type { Names } from '../runtime/checks.js';
import type { AttentionErrorCode, Progress, RuntimeInfo, RuntimeOptions } from '../index.js';

export type Path = readonly (string | number)[];

/** Something in a call that is put in its place by the worker. Inner references come before those around them. */
export type Reference =
  | { readonly path: Path; readonly handle: number }
  /** At the path stand the arguments of the function of that name that makes the mask. The same mask has the same id. */
  | { readonly path: Path; readonly mask: string; readonly id: number };

/** Calls are answered in the order they came in, except those called off before they began: at once. */
export type Request =
  | { readonly type: 'start'; readonly options: RuntimeOptions }
  | CallRequest
  | { readonly type: 'abort'; readonly id: number }
  | { readonly type: 'release'; readonly handle: number };

/** What is called by name: the names of its inputs, in order, and of its options. */
export interface Signature {
  readonly inputs: readonly string[];
  readonly options: Names;
}

export interface CallRequest {
  readonly type: 'call';
  readonly id: number;
  readonly operation: string;
  readonly inputs: Record<string, unknown>;
  readonly references: readonly Reference[];
  /** Whether progress is to be reported. */
  readonly progress: boolean;
  /** Whether the contents of resulting tensors come along. */
  readonly read: boolean;
}

/** Something in a result that stays in the worker. */
export interface Made {
  readonly path: Path;
  readonly handle: number;
  /** What the handle stands for, such as 'tensor': it chooses the class. */
  readonly kind: string;
  /** What the handle says of itself: shape and dtype of a tensor, sizes of a layer. */
  readonly properties: Record<string, unknown>;
}

export type Answer =
  | {
      readonly type: 'ready';
      readonly info: RuntimeInfo;
      readonly signatures: Readonly<Record<string, Signature>>;
    }
  | { readonly type: 'failed'; readonly error: PackedError }
  | { readonly type: 'result'; readonly id: number; readonly value: unknown; readonly made: readonly Made[] }
  | { readonly type: 'error'; readonly id: number; readonly error: PackedError }
  | { readonly type: 'progress'; readonly id: number; readonly progress: Progress };

/** An AttentionError's parts; any other error is copied as it is. */
export type PackedError =
  | {
      readonly attention: true;
      readonly code: AttentionErrorCode;
      readonly argument: string | undefined;
      readonly expected: string | undefined;
      readonly received: string | undefined;
      readonly message: string;
      readonly stack: string | undefined;
      readonly cause: PackedError | undefined;
    }
  | { readonly attention: false; readonly error: unknown };
