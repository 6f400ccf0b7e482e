// Parameters of a network as optimisers see them: runs of floats, each with a gradient that lies alike. Tensors that were packed into
// one matrix are apart again where they begin with a panel; those that share a panel are one parameter, `a and b`. Of a tensor that
// holds several matrices each is a parameter of its own, `a[0:64]`.
//
//   packed   | panel of 8 outs | panel | panel | ...        query: outs 0 to 15, key: outs 16 to 23, value: ...

import { PANEL } from '../../build/kernels.js';
import { AttentionError } from '../runtime/errors.js';
import { sizeOf } from '../runtime/layout.js';
import type { Tensor } from '../runtime/tensor.js';
import type { Source } from '../model/description.js';
import { rowsOfSource } from '../model/parameters.js';
import type { Parameters } from '../model/parameters.js';
import type { Binder } from './bound.js';
import type { TrainableParameter } from './parameter.js';

/** Where a tensor, or a part of it, lies. */
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

/** What lies where. */
export function placesIn(parameters: Parameters): ParameterPlace[] {
  return [...parameters.slots].flatMap(([name, slots]) =>
    slots.map(({ source, target }) => {
      const rows = rowsOfSource(source);
      if (target.kind === 'floats') {
        const whole = source.rows === undefined && source.from === undefined;
        return {
          name,
          source,
          tensor: target.tensor,
          from: target.from,
          count: whole ? sizeOf(source.shape) : rows,
        };
      }
      const { weights, firstOut } = target;
      const { packed: tensor, inFeatures, outFeatures } = weights;
      const matrix = { firstOut, rows, inFeatures, outFeatures };
      return { name, source, tensor, from: firstOut * inFeatures, count: rows * inFeatures, matrix };
    }),
  );
}

/** A run of floats, and the tensors it is of. */
interface Run {
  names: string[];
  readonly tensor: Tensor<'float32'>;
  readonly from: number;
  count: number;
  readonly kind: TrainableParameter['kind'];
  shape: readonly number[];
}

/**
 * @param gradients those of the parameters that are trained, and of tensors that lie in one matrix with them
 * @param binder    knows the tensors of the parameters, and which of them are trained
 * @throws AttentionError UNSUPPORTED where a frozen tensor cannot be told apart from one that is trained, or a tensor is held twice
 */
export function trainedParameters(gradients: Parameters, binder: Binder): TrainableParameter[] {
  const places = placesIn(gradients);
  const frozen = new Set(places.filter(({ source }) => !binder.learns(source)).map(nameOf));
  checkOnce(places);
  return runsOf(places)
    .filter(({ names }) => {
      const stay = names.filter((name) => frozen.has(name));
      if (stay.length === 0 || stay.length === names.length) return stay.length === 0;
      throw new AttentionError({
        code: 'UNSUPPORTED',
        argument: 'frozen',
        expected: `all or none of ${names.join(', ')}, which lie interleaved`,
        received: stay.join(', '),
      });
    })
    .map(({ names, tensor, from, count, kind, shape }) => {
      const value = binder.pairs.get(tensor)!;
      return {
        name: names.join(' and '),
        shape,
        count,
        kind,
        address: (scope) => scope.use(value).address + from * 4,
        gradientAddress: (scope) => scope.use(tensor).address + from * 4,
      };
    });
}

/** Throws where elements of a tensor are held in two places, which an update would have to keep alike. */
function checkOnce(places: readonly ParameterPlace[]): void {
  const counts = new Map<string, number>();
  for (const { name, source, count } of places) {
    const sum = (counts.get(name) ?? 0) + count;
    counts.set(name, sum);
    if (sum <= sizeOf(source.shape)) continue;
    throw new AttentionError({
      code: 'UNSUPPORTED',
      argument: name,
      expected: 'a tensor that the model holds once',
      received: 'one that it reads in two ways',
    });
  }
}

/** Its name; of some of its rows, with which ones they are. */
function nameOf({ name, source }: ParameterPlace): string {
  if (source.from === undefined && source.rows === undefined) return name;
  const from = source.from ?? 0;
  return `${name}[${from}:${source.rows === undefined ? '' : from + source.rows}]`;
}

function runsOf(places: readonly ParameterPlace[]): Run[] {
  const runs: Run[] = [];
  const ofMatrices = new Map<Tensor<'float32'>, Run[]>();
  for (const place of places) {
    const { source, tensor, from, count, matrix } = place;
    const name = nameOf(place);
    if (!matrix) {
      runs.push({
        names: [name],
        tensor,
        from,
        count,
        kind: 'floats',
        shape: count === sizeOf(source.shape) ? source.shape : [count],
      });
      continue;
    }
    const { firstOut, rows, inFeatures, outFeatures } = matrix;
    const end = firstOut + rows;
    const panelFrom = Math.floor(firstOut / PANEL);
    const panelTo = end === outFeatures ? Math.ceil(end / PANEL) : end / PANEL;
    const known = ofMatrices.get(tensor) ?? [];
    ofMatrices.set(tensor, known);
    const last = known.at(-1);
    const at = panelFrom * PANEL * inFeatures;
    // A panel that the tensor before begins and this one goes on with.
    if (last && last.from + last.count > at) {
      last.names = [...last.names, name];
      last.count = Math.ceil(panelTo) * PANEL * inFeatures - last.from;
      last.shape = [end - last.from / inFeatures, inFeatures];
      continue;
    }
    const run: Run = {
      names: [name],
      tensor,
      from: at,
      count: Math.ceil(panelTo) * PANEL * inFeatures - at,
      kind: 'panels',
      shape: [rows, inFeatures],
    };
    known.push(run);
    runs.push(run);
  }
  return runs;
}
