// Tokens that callers choose.

import type { Range } from '../ops/attention/weights.js';
import { invalidArgument } from '../runtime/errors.js';

/** A token by its index, or those from the first of two to before the second. */
export type Span = number | Range;

/** [from, to) of a span that ends within so many tokens. */
export function readSpan(argument: string, span: unknown, tokens = Infinity): Range {
  const pair: unknown[] = Array.isArray(span) && span.length === 2 ? span : [span, (span as number) + 1];
  const [from, to] = pair as [number, number];
  const fits = Number.isInteger(from) && Number.isInteger(to) && 0 <= from && from < to && to <= tokens;
  if (fits) return [from, to];
  const below = tokens === Infinity ? '' : ` <= ${tokens}`;
  throw invalidArgument(argument, `a token, or [from, to] with 0 <= from < to${below}`, span);
}
