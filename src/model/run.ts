// Calls of a stack: from ids, pictures or sound to the rows that come out, and what the caller wants to see of the way.

import { invalidArgument } from '../runtime/errors.js';
import { checkDataType } from '../runtime/inputs.js';
import type { CallScope } from '../runtime/call-scope.js';
import type { Tensor } from '../runtime/tensor.js';
import type { Chosen } from './heads.js';
import type { ModelInputs, ReadTokens } from './inputs.js';
import { rowsOfTensor } from './layers/stack.js';
import type { Stack } from './layers/stack.js';
import type { StackOutput } from './output.js';
import { Pass } from './pass.js';
import type { CachedKeys, Context, KeptKeys, Rows, Wanted } from './pass.js';

/** What a caller may want to see of a stack, or change. */
export interface WantedOfStack extends Omit<Wanted, 'intervene'> {
  readonly returnHiddenStates?: boolean | undefined;
  readonly interveneIn?: ((stack: Stack) => Wanted['intervene']) | undefined;
}

/** A call of a stack over tokens. */
interface TokenCall {
  readonly tokens: ReadTokens;
  readonly wanted?: WantedOfStack | undefined;
  readonly cached?: CachedKeys | undefined;
  readonly context?: Context | undefined;
}

/** Rows that came out of a stack, and what was seen on the way. */
export interface Ran {
  readonly pass: Pass;
  /** What came out, after the last norm. */
  readonly hidden: Chosen;
  readonly output: StackOutput;
}

/** What the tokens of a model's input are called. */
export const IDS = { ids: 'inputIds', mask: 'attentionMask' } as const;

/** Tokens that each row has, for a cache, which takes padding on the right only. */
export function countsOf({ batch, length, lengths, mask }: ReadTokens): Int32Array {
  if (mask)
    throw invalidArgument(
      'attentionMask',
      'padding on the right, together with a cache',
      'padding elsewhere',
    );
  return lengths ?? new Int32Array(batch).fill(length);
}

/** Padding as attention takes it. */
export function keptKeys(scope: CallScope, { batch, length, lengths, mask }: ReadTokens): KeptKeys {
  if (mask)
    return {
      mask: scope.tensor('attentionMask', { data: mask, shape: [batch, 1, 1, length] }),
    };
  return { keyLengths: lengths };
}

/** Tokens through a stack. */
export function runTokens(scope: CallScope, stack: Stack, call: TokenCall): Ran {
  const { tokens, wanted, cached, context } = call;
  const { batch, length } = tokens;
  checkLength(stack, tokens, cached);
  const kept = cached ? {} : keptKeys(scope, tokens);
  const pass = new Pass(
    scope,
    { batch, length, positions: tokens.rotations },
    { wanted: seenOf(stack, wanted), kept, cached, context },
  );
  return runStack(pass, stack, wanted, (x) => stack.tokens!.run(scope, tokens, x));
}

/** Throws where there are more tokens than learned positions. */
export function checkLength(
  { description }: Pick<Stack, 'description'>,
  { length, positions, own }: ReadTokens,
  cached?: CachedKeys,
): void {
  const { maxLength = Infinity } = description;
  const most = positions.reduce((highest, position) => Math.max(highest, position), -1) + 1;
  if (most <= maxLength) return;
  const held = cached ? `, with the ${most - length} of the cache` : '';
  throw invalidArgument(
    own ? 'positionIds' : 'inputIds',
    `at most ${maxLength} ${own ? 'positions' : 'tokens, for which the model has positions'}`,
    `${most}${held}`,
  );
}

/** Pictures or sound through a stack. */
export function runSignals(scope: CallScope, stack: Stack, inputs: ModelInputs, options: WantedOfStack): Ran {
  const signals = stack.signals!;
  const { argument } = signals;
  const given = inputs[argument];
  if (given === undefined) throw invalidArgument(argument, signals.shape, given);
  const tensor = scope.tensor(argument, given);
  checkDataType(argument, tensor, 'float32');
  const [batch = 0] = tensor.shape;
  const length = signals.lengthOf(tensor);
  const pass = new Pass(scope, { batch, length, positions: [] }, { wanted: seenOf(stack, options) });
  return runStack(pass, stack, options, (x) => signals.run(scope, tensor, x));
}

function seenOf(stack: Stack, { returnRecord, returnWeights, interveneIn }: WantedOfStack = {}): Wanted {
  return { returnRecord, returnWeights, intervene: interveneIn?.(stack) };
}

/** Input, blocks and last norm, with what was seen on the way. */
function runStack(
  pass: Pass,
  stack: Stack,
  { returnHiddenStates }: WantedOfStack = {},
  enter: (x: Rows) => void,
): Ran {
  const { scope, batch, length } = pass;
  const shape = [batch, length, stack.description.embedDim];
  const last = scope.make([batch, length, stack.channels]);
  const states: Tensor<'float32'>[] = [];
  const flowing = stack.endsBare ? last : scope.temporary(shape);
  const x = rowsOfTensor(flowing);
  if (x.rows > 0) {
    enter(x);
    stack.run(pass, x, () => {
      if (!returnHiddenStates) return;
      const state = scope.make(shape);
      scope.copy(flowing, state);
      states.push(state);
    });
  }
  const hidden = { ...stack.finish(pass, x, rowsOfTensor(last)), channels: stack.channels };
  const { self, cross } = pass;
  const seen = (name: string, list: readonly unknown[]) => (list.length > 0 ? { [name]: list } : {});
  const output = {
    lastHiddenState: last,
    ...seen('hiddenStates', states),
    ...seen('records', self.records),
    ...seen('attentions', self.weights),
    ...seen('crossRecords', cross.records),
    ...seen('crossAttentions', cross.weights),
  };
  return { pass, hidden, output };
}
