// Calls of models with an encoder and a decoder. Loaded with them: see parts.ts.

import type { CallScope } from '../runtime/call-scope.js';
import { invalidArgument } from '../runtime/errors.js';
import type { Tensor } from '../runtime/tensor.js';
import type { TokenInput } from './description.js';
import { namedInputs, readTokens } from './inputs.js';
import type { ModelInputs } from './inputs.js';
import type { Stack } from './layers/stack.js';
import type { Model, ModelForwardOptions } from './model.js';
import type { ModelResults } from './output.js';
import type { Context } from './pass.js';
import { countsOf, IDS, runSignals, runTokens } from './run.js';
import type { Ran, WantedOfStack } from './run.js';

export { CrossAttention } from './layers/cross-attention.js';

/** What came out of an encoder, and what a decoder sees of it. */
interface Encoded {
  readonly ran: Ran;
  readonly context: Context;
}

/** `forward`: the encoder, and the decoder over it. */
export function runBoth(
  model: Model,
  scope: CallScope,
  given: ModelInputs,
  options: ModelForwardOptions,
): ModelResults {
  const [encoder, decoder] = model.built.stacks as [Stack, Stack];
  const inputs = namedInputs(given, [...inputsOf(encoder), 'decoderInputIds', 'decoderAttentionMask']);
  const { ran: encoded, context } = encode(scope, encoder, inputs, options);
  const names = { ids: 'decoderInputIds', mask: 'decoderAttentionMask' } as const;
  const input = decoder.description.input as TokenInput;
  const tokens = readTokens(input, names, inputs, model.past(options.cache));
  const cached = options.cache && { cache: options.cache, counts: countsOf(tokens) };
  if (tokens.batch !== encoded.pass.batch)
    throw invalidArgument(
      'decoderInputIds',
      `a batch of ${encoded.pass.batch}, as the encoder's`,
      tokens.batch,
    );
  const ran = runTokens(scope, decoder, { tokens, wanted: options, cached, context });
  return { ...ran.output, encoder: encoded.output, ...model.runHeads(ran, tokens, options) };
}

/** Runs the encoder alone, of inputs that it alone reads. */
export function runEncoder(model: Model, scope: CallScope, given: ModelInputs): Encoded {
  const [encoder] = model.built.stacks as [Stack];
  return encode(scope, encoder, namedInputs(given, inputsOf(encoder)), {});
}

function inputsOf({ signals }: Stack): readonly (keyof ModelInputs)[] {
  return signals ? [signals.argument] : ['inputIds', 'attentionMask'];
}

function encode(scope: CallScope, encoder: Stack, inputs: ModelInputs, options: WantedOfStack): Encoded {
  if (encoder.signals) {
    const ran = runSignals(scope, encoder, inputs, options);
    return { ran, context: { hidden: ran.hidden, length: ran.pass.length } };
  }
  const tokens = readTokens(encoder.description.input as TokenInput, IDS, inputs);
  const ran = runTokens(scope, encoder, { tokens, wanted: options });
  const { keyLengths, mask } = ran.pass.kept as { keyLengths?: Int32Array; mask?: Tensor<'bool'> };
  return { ran, context: { keyLengths, mask, hidden: ran.hidden, length: tokens.length } };
}
