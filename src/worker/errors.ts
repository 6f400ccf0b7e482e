// Errors on their way out of a worker: an AttentionError arrives as one, with its code, argument, message and cause; the
// errors of the language keep their class; anything else arrives as an Error with its message.

import { AttentionError } from '../runtime/errors.js';
import type { PackedError } from './protocol.js';

export function packError(error: unknown): PackedError {
  if (!(error instanceof AttentionError)) return { attention: false, error: copyable(error) };
  const { code, argument, expected, received, message, stack, cause } = error;
  return {
    attention: true,
    code,
    argument,
    expected,
    received,
    message,
    stack,
    cause: cause === undefined ? undefined : packError(cause),
  };
}

export function unpackError(packed: PackedError): unknown {
  if (!packed.attention) return packed.error;
  const { code, argument, expected, received, message, stack, cause } = packed;
  const error = new AttentionError({
    code,
    argument,
    expected,
    received,
    message,
    ...(cause && { cause: unpackError(cause) }),
  });
  if (stack !== undefined) error.stack = stack; // where it happened, not where it was unpacked
  return error;
}

function copyable(error: unknown): unknown {
  try {
    return structuredClone(error);
  } catch {
    return new Error(error instanceof Error ? error.message : String(error));
  }
}
