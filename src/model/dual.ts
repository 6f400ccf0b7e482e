// Calls of models that bring texts and pictures into one space. Loaded with them: see parts.ts.

import { power } from '../math/elementary.js';
import { runNorm } from '../ops/norms/norm.js';
import type { CallScope } from '../runtime/call-scope.js';
import { invalidArgument } from '../runtime/errors.js';
import type { TokenInput } from './description.js';
import type { Head, PooledTokens } from './heads.js';
import { namedInputs, readTokens } from './inputs.js';
import type { ModelInputs } from './inputs.js';
import { rowsOfTensor } from './layers/stack.js';
import type { Stack } from './layers/stack.js';
import type { Model, ModelForwardOptions } from './model.js';
import type { ModelResults, TowerOutput } from './output.js';
import { IDS, runSignals, runTokens } from './run.js';
import type { Ran } from './run.js';

/** Results in the making. */
type Results = { -readonly [Name in keyof ModelResults]: ModelResults[Name] };

/** `forward`: one tower or both. */
export function runDual(
  model: Model,
  scope: CallScope,
  given: ModelInputs,
  options: ModelForwardOptions,
): ModelResults {
  const inputs = namedInputs(given, ['inputIds', 'attentionMask', 'positionIds', 'pixelValues']);
  const { stacks, heads, visionHeads } = model.built;
  const [textStack, visionStack] = stacks as [Stack, Stack];
  const tower = (ran: Ran, own: readonly Head[], tokens: PooledTokens): TowerOutput => {
    const { features } = model.runHeads(ran, tokens, {}, own) as unknown as TowerOutput;
    const embeddings = scope.make(features.shape);
    const norm = { channels: features.shape[1]!, epsilon: 1e-12 };
    runNorm(scope, 'l2', rowsOfTensor(features), rowsOfTensor(embeddings), norm);
    return { ...ran.output, features, embeddings };
  };
  const results: Results = {};
  if (inputs.inputIds !== undefined) {
    const tokens = readTokens(textStack.description.input as TokenInput, IDS, inputs);
    results.text = tower(runTokens(scope, textStack, { tokens, wanted: options }), heads, tokens);
  }
  if (inputs.pixelValues !== undefined)
    results.vision = tower(runSignals(scope, visionStack, inputs, options), visionHeads, {});
  if (!results.text && !results.vision)
    throw invalidArgument('inputs', 'inputIds, pixelValues or both', given);
  if (results.text && results.vision) compare(model, scope, results.text, results.vision, results);
  return results;
}

/** Products of all embeddings of pictures with all of texts, times the model's factor. A few numbers: no kernel. */
function compare(
  { built: { logitScale } }: Model,
  scope: CallScope,
  { embeddings: texts }: TowerOutput,
  { embeddings: pictures }: TowerOutput,
  results: Results,
): void {
  const [count, channels] = texts.shape as [number, number];
  const [rows] = pictures.shape as [number];
  const perImage = (results.logitsPerImage = scope.make([rows, count]));
  const perText = (results.logitsPerText = scope.make([count, rows]));
  scope.then(() => {
    const factor = power(Math.E, logitScale!.data[0]!);
    for (let i = 0; i < rows; i++) {
      for (let t = 0; t < count; t++) {
        let sum = 0;
        for (let c = 0; c < channels; c++)
          sum += pictures.data[i * channels + c]! * texts.data[t * channels + c]!;
        perImage.data[i * count + t] = perText.data[t * rows + i] = factor * sum;
      }
    }
  });
}
