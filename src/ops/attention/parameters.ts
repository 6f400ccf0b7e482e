// Writes the parameter block of the attention kernels. The order of FIELDS is that of the class in
// assembly/attention/parameters.ts; a test holds them together.

import type { LinearMemory } from '../../runtime/memory.js';
import type { Kernels } from '../../runtime/kernels.js';

export const FIELDS = [
  ...strided('query'),
  ...strided('key'),
  ...strided('value'),
  ...strided('output'),
  'statistics',
  'logSumExp',
  'batch',
  'queryHeads',
  'keyHeads',
  'queries',
  'keys',
  'headDim',
  'valueHeadDim',
  'scoreScale',
  'softcap',
  'biasScale',
  'rowBegin',
  'rowEnd',
  'rowIntervalBatchStride',
  'rowIntervalHeadStride',
  ...strided('booleanMask'),
  ...strided('bias'),
  ...strided('secondBias'),
  'sinks',
  'blocks',
  'blocksBatchStride',
  'blocksHeadStride',
  'headFrom',
  'headTo',
  'queryFrom',
  'queryTo',
  'keyFrom',
  'keyTo',
  'mode',
  'count',
  'pages',
  'pagesBatchStride',
  'storage',
  'firstKeys',
] as const;

type Strided = 'query' | 'key' | 'value' | 'output' | 'booleanMask' | 'bias' | 'secondBias';

function strided<Name extends Strided>(name: Name) {
  return [name, `${name}BatchStride`, `${name}HeadStride`, `${name}RowStride`] as const;
}

export type Field = (typeof FIELDS)[number];

/** Words of the block by name; those not named are 0. */
export type Parameters = { -readonly [name in Field]?: number };

export const PARAMETER_BYTES = FIELDS.length * 4;

const FLOATS: ReadonlySet<Field> = new Set<Field>(['scoreScale', 'softcap', 'biasScale']);
const PLACES = new Map<string, number>(FIELDS.map((name, index) => [name, index]));

/** Writes the block at an address. */
export function writeParameters(memory: LinearMemory, address: number, parameters: Parameters): void {
  const { integers, floats } = memory.words;
  const start = address >>> 2;
  integers.fill(0, start, start + FIELDS.length);
  for (const name in parameters) {
    const place = start + PLACES.get(name)!;
    const value = parameters[name as Field]!;
    if (FLOATS.has(name as Field)) floats[place] = value;
    else integers[place] = value;
  }
}

/** Whether JavaScript and WebAssembly agree about the size of the block. */
export function checkParameterBlock(kernels: Kernels): boolean {
  return kernels.attentionParametersBytes() === PARAMETER_BYTES;
}
