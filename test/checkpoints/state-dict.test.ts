import { describe, expect, test } from 'vitest';
import type { StateDictTensor } from '../../src/checkpoints/state-dict.js';
import {
  errorOf,
  expectedOf,
  findProjections,
  layerOf,
  layoutOf,
  llama,
  torchPacked,
} from '../support/checkpoints.js';
import type { StateDict } from '../support/checkpoints.js';

/** Of integers up to 2048 in size, which halves hold. */
function bitsOfHalf(x: number): number {
  if (x === 0) return 0;
  const exponent = Math.floor(Math.log2(Math.abs(x)));
  return (x < 0 ? 0x8000 : 0) + ((exponent + 15) << 10) + (Math.abs(x) / 2 ** exponent - 1) * 1024;
}

describe('what a tensor is', () => {
  const layer = layerOf(layoutOf());

  test.each([
    ['dims', (tensor: StateDictTensor) => ({ dims: tensor.shape, data: tensor.data })],
    [
      'float64',
      (tensor: StateDictTensor) => ({ ...tensor, data: Float64Array.from(tensor.data as Float32Array) }),
    ],
    ['numbers', (tensor: StateDictTensor) => ({ ...tensor, data: Array.from(tensor.data as Float32Array) })],
    ['dataSync', ({ shape, data }: StateDictTensor) => ({ shape, data: () => 0, dataSync: () => data })],
    [
      'halves',
      ({ shape, data }: StateDictTensor) => ({
        ...{ dims: shape, type: 'float16', data: Uint16Array.from(data as Float32Array, bitsOfHalf) },
      }),
    ],
  ])('may be given with %s', (_form, convert) => {
    const entries = Object.entries(llama(layer)).map(([name, tensor]) => [name, convert(tensor)] as const);
    expect(findProjections(Object.fromEntries(entries), layer.layout)).toEqual(expectedOf(layer));
  });

  test('values are views where nothing moves', () => {
    const separated = llama(layer);
    const found = findProjections(separated, layer.layout);
    expect(found.query.weight).toBe(separated['q_proj.weight']?.data);

    const packed = torchPacked(layer);
    const { key } = findProjections(packed, layer.layout);
    expect(key.weight.buffer).toBe((packed['in_proj_weight']?.data as Float32Array).buffer);
  });

  test.each([
    ['integers', { data: new Int8Array(72), shape: [12, 6] }, 'INVALID_DTYPE', 'Int8Array(72)'],
    ['bits of halves', { data: new Uint16Array(72), shape: [12, 6] }, 'INVALID_DTYPE', 'Uint16Array(72)'],
    ['text', { data: ['1'], shape: [12, 6] }, 'INVALID_DTYPE', 'Array(1)'],
    ['nothing', { data: undefined, shape: [12, 6] }, 'INVALID_ARGUMENT', '{ data, shape }'],
    ['too few values', { data: new Float32Array(71), shape: [12, 6] }, 'INVALID_SHAPE', '71'],
    ['no shape', { data: new Float32Array(72) }, 'INVALID_ARGUMENT', '{ data }'],
    ['a negative shape', { data: new Float32Array(72), shape: [-12, -6] }, 'INVALID_ARGUMENT', '[-12, -6]'],
    ['null', null as unknown as StateDictTensor, 'INVALID_ARGUMENT', 'null'],
    [
      'a bare array',
      new Float32Array(72) as unknown as StateDictTensor,
      'INVALID_ARGUMENT',
      'Float32Array(72)',
    ],
  ])('is not %s', (_kind, tensor, code, received) => {
    const stateDict = { ...llama(layer), 'q_proj.weight': tensor };
    const error = errorOf(() => findProjections(stateDict, layer.layout));
    expect(error).toMatchObject({ code, argument: 'tensor "q_proj.weight"', received });
  });

  test.each([[undefined], [null], ['text'], [3]])('a checkpoint is not %j', (value) => {
    const error = errorOf(() => findProjections(value as unknown as StateDict, layer.layout));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'stateDict' });
  });

  test('a prefix is text', () => {
    const error = errorOf(() => findProjections(llama(layer), layer.layout, 3 as unknown as string));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'prefix', received: '3' });
  });
});
