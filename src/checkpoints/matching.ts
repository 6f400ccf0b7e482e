// Finds an attention layer in a checkpoint, however its authors named and packed its projections.

import { AttentionError, describe, invalidArgument, shapeError } from '../runtime/errors.js';
import { biasParts, readProjections, weightParts } from './projections.js';
import type { AttentionProjections, Match, Part, ProjectionLayout } from './projections.js';
import { changesTheMeaning, schemes } from './schemes.js';
import type { Scheme } from './schemes.js';
import { shapeOf, tensorLabel } from './state-dict.js';
import type { StateDict } from './state-dict.js';

const MOST_LISTED = 8;

/** An attention layer in a checkpoint. */
export interface FoundLayer {
  readonly projections: AttentionProjections;
  /** Names under the prefix that belong to none of them. */
  readonly leftAside: readonly string[];
}

/**
 * Finds the projections of one attention layer in a checkpoint and brings them into one form.
 *
 * Names that belong to none of the projections are left aside, except those of parts that would change the result.
 *
 * A missing bias counts as zeros, because many models have some and not others. Nothing is written to the
 * checkpoint, and what needs no rearranging is returned as a view of it.
 *
 * @param stateDict tensors by name; their `data` is read only if they belong to the layer.
 * @param layout the layer's sizes; every tensor's shape is checked against them.
 * @param prefix what the layer's names begin with, with or without the dot at its end. The layer may also be
 *   deeper inside, as long as it is the only one there. Default: the whole checkpoint, which must then hold
 *   one attention.
 * @throws AttentionError `INVALID_ARGUMENT` if no scheme fits, more than one does, several layers are
 *   possible, there is a bias for a layer without biases, or a tensor is not one; `INVALID_SHAPE`,
 *   `INVALID_DTYPE` for a tensor of another shape or kind; `UNSUPPORTED` if the checkpoint's layer has a part
 *   that this one cannot have.
 */
export function findLayer(stateDict: StateDict, layout: ProjectionLayout, prefix?: string): FoundLayer {
  const beginning = normalizePrefix(prefix);
  const names = listNames(stateDict, beginning);
  const match = chooseMatch(stateDict, findMatches(names), layout, beginning, names);
  refuseOtherMeaning(match.prefix, names);
  const problem = findProblem(stateDict, match, layout);
  if (problem !== undefined) throw problem;
  const projections = readProjections(stateDict, match, layout);
  const leftAside = new Set(names);
  for (const { name } of [...weightParts(match, layout), ...biasParts(match, layout)]) leftAside.delete(name);
  return { projections, leftAside: [...leftAside] };
}

/** The names under the prefix: a checkpoint has many more. */
function listNames(stateDict: unknown, prefix: string): ReadonlySet<string> {
  if (typeof stateDict !== 'object' || stateDict === null) {
    throw invalidArgument('stateDict', 'an object of tensors by name', stateDict);
  }
  return new Set(Object.keys(stateDict).filter((name) => name.startsWith(prefix)));
}

function normalizePrefix(prefix: unknown): string {
  if (prefix === undefined || prefix === '') return '';
  if (typeof prefix !== 'string') {
    throw invalidArgument('prefix', 'a string', prefix);
  }
  return prefix.endsWith('.') ? prefix : `${prefix}.`;
}

function findMatches(names: ReadonlySet<string>): Match[] {
  return schemes().flatMap((scheme) =>
    prefixesOf(scheme.weights[0] as string, names)
      .filter((prefix) => scheme.weights.every((weight) => names.has(prefix + weight)))
      .flatMap((prefix) =>
        scheme.outputs
          .filter((output) => names.has(`${prefix}${output}.weight`))
          .map((output) => ({ scheme, prefix, output })),
      ),
  );
}

/** What stands before `ending` in every name that ends with it, up to a dot or the beginning of the name. */
function prefixesOf(ending: string, names: ReadonlySet<string>): string[] {
  const dotted = `.${ending}`;
  return [...names]
    .filter((name) => name === ending || name.endsWith(dotted))
    .map((name) => name.slice(0, name.length - ending.length));
}

function chooseMatch(
  stateDict: StateDict,
  matches: readonly Match[],
  layout: ProjectionLayout,
  prefix: string,
  names: ReadonlySet<string>,
): Match {
  const inside = matches.filter((match) => match.prefix.startsWith(prefix));
  const prefixes = [...new Set(inside.map((match) => match.prefix))];
  if (prefixes.length === 0) throw noMatchError(prefix, names);
  const chosen = prefixes.includes(prefix) ? prefix : prefixes[0];
  if (prefixes.length > 1 && chosen !== prefix) throw severalLayersError(prefix, prefixes);

  const candidates = inside.filter((match) => match.prefix === chosen);
  const fitting = candidates.filter((match) => findProblem(stateDict, match, layout) === undefined);
  if (fitting.length > 1) throw ambiguousError(fitting);
  // Where nothing fits, the likeliest one is returned for its problem to be reported.
  return (fitting[0] ?? candidates.find(beginsToFit) ?? candidates[0]) as Match;

  function beginsToFit(match: Match): boolean {
    const [first] = weightParts(match, layout);
    return findShapeProblem(stateDict, first as Part, match.scheme) === undefined;
  }
}

function noMatchError(prefix: string, names: ReadonlySet<string>): AttentionError {
  const inside = [...names];
  const tried = schemes()
    .map((scheme) => `${scheme.name} (${scheme.weights[0]})`)
    .join('; ');
  const closest = describeClosest(inside);
  const where = prefix === '' ? '' : ` under ${describe(prefix)}`;
  return new AttentionError({
    code: 'INVALID_ARGUMENT',
    argument: prefix === '' ? 'stateDict' : 'prefix',
    expected: `the weights of an attention layer${where}, named as in one of: ${tried}`,
    received: (inside.length === 0 ? 'no tensors' : listSome(inside)) + closest,
  });
}

/** The scheme that lacks the fewest weights, most likely what was meant; empty if none has any. */
function describeClosest(names: readonly string[]): string {
  const present = new Set(names);
  let best: { scheme: Scheme; prefix: string; missing: string[] } | undefined;
  for (const scheme of schemes()) {
    const required = [...scheme.weights, `${scheme.outputs[0]}.weight`];
    for (const prefix of new Set(required.flatMap((name) => prefixesOf(name, present)))) {
      const missing = required.filter((name) => !present.has(prefix + name));
      // A lone output projection says nothing: too many kinds of layers have one of that name.
      const anchored = scheme.weights.some((weight) => present.has(prefix + weight));
      if (anchored && missing.length < (best?.missing.length ?? Infinity)) best = { scheme, prefix, missing };
    }
  }
  if (best === undefined) return '';
  return `; for ${best.scheme.name} this lacks ${listSome(best.missing.map((name) => best.prefix + name))}`;
}

function severalLayersError(prefix: string, prefixes: readonly string[]): AttentionError {
  const where = prefix === '' ? 'in stateDict' : `under ${describe(prefix)}`;
  return new AttentionError({
    code: 'INVALID_ARGUMENT',
    argument: 'prefix',
    expected: `one that leaves a single attention layer`,
    received: `${prefixes.length} layers ${where}: ${listSome(prefixes)}`,
  });
}

function ambiguousError(matches: readonly Match[]): AttentionError {
  const found = matches.map(({ scheme, prefix, output }) => {
    const keys = [...scheme.weights, `${output}.weight`].map((name) => prefix + name);
    return `${scheme.name} (${keys.map((key) => describe(key)).join(', ')})`;
  });
  return new AttentionError({
    code: 'INVALID_ARGUMENT',
    argument: 'stateDict',
    expected: 'the weights of one attention layer in one naming scheme',
    received: `tensors that fit ${found.join(' and ')}`,
  });
}

function listSome(names: readonly string[]): string {
  const shown = names.slice(0, MOST_LISTED).map((name) => describe(name));
  return shown.join(', ') + (names.length > MOST_LISTED ? ` and ${names.length - MOST_LISTED} more` : '');
}

function refuseOtherMeaning(prefix: string, names: ReadonlySet<string>): void {
  for (const [name, expected] of changesTheMeaning()) {
    if (!names.has(prefix + name)) continue;
    throw new AttentionError({
      code: 'UNSUPPORTED',
      argument: 'stateDict',
      expected: `a layer with ${expected}`,
      received: tensorLabel(prefix + name),
    });
  }
}

/** Why a match cannot be read for this layer, or undefined if it can. Looks at shapes, never at values. */
function findProblem(
  stateDict: StateDict,
  match: Match,
  layout: ProjectionLayout,
): AttentionError | undefined {
  return (
    findInputProblem(match, layout) ??
    firstOf(weightParts(match, layout), (part) => findShapeProblem(stateDict, part, match.scheme)) ??
    firstOf(
      biasParts(match, layout).filter((part) => Object.hasOwn(stateDict, part.name)),
      (part) => findBiasProblem(part, layout) ?? findShapeProblem(stateDict, part, match.scheme),
    )
  );
}

function firstOf<Item, Found>(
  items: readonly Item[],
  find: (item: Item) => Found | undefined,
): Found | undefined {
  for (const item of items) {
    const found = find(item);
    if (found !== undefined) return found;
  }
  return undefined;
}

function findInputProblem({ scheme, prefix }: Match, layout: ProjectionLayout): AttentionError | undefined {
  const { embedDim, kdim, vdim } = layout;
  if (scheme.weights.length > 1 || (kdim === embedDim && vdim === embedDim)) return undefined;
  return new AttentionError({
    code: 'INVALID_SHAPE',
    argument: tensorLabel(prefix + (scheme.weights[0] as string)),
    expected: `one weight each for inputs of embedDim ${embedDim}, kdim ${kdim} and vdim ${vdim}`,
    received: 'a packed one, whose inputs all have the same size',
  });
}

function findBiasProblem({ name }: Part, layout: ProjectionLayout): AttentionError | undefined {
  if (layout.bias) return undefined;
  return new AttentionError({
    code: 'INVALID_ARGUMENT',
    argument: tensorLabel(name),
    expected: 'no biases, since the layer was made with bias: false',
    received: 'one; make the layer with bias: true to use it, or leave the tensor out to drop it',
  });
}

function findShapeProblem(
  stateDict: StateDict,
  { name, shape }: Part,
  scheme: Scheme,
): AttentionError | undefined {
  const received = shapeOf(stateDict, name);
  if (received.length === shape.length && received.every((size, axis) => size === shape[axis]))
    return undefined;
  return shapeError(tensorLabel(name), `shape ${describe(shape)} (named as in ${scheme.name})`, received);
}
