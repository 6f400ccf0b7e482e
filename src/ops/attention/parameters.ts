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
  'memoryBytes',
] as const;

type Strided = 'query' | 'key' | 'value' | 'output' | 'booleanMask' | 'bias' | 'secondBias';

function strided<Name extends Strided>(name: Name) {
  return [name, `${name}BatchStride`, `${name}HeadStride`, `${name}RowStride`] as const;
}

export type Field = (typeof FIELDS)[number];

/** Words of the block by name; those not named are 0. */
export type Parameters = { -readonly [name in Field]?: number };

export const PARAMETER_BYTES = FIELDS.length * 4;

const PLACES = new Map<string, number>(FIELDS.map((name, index) => [name, index]));
const FLOAT_PLACES = new Set<number>(
  (['scoreScale', 'softcap', 'biasScale'] as const).map((name) => FIELDS.indexOf(name)),
);

/** Writes the block at an address; later parts go over earlier ones. Joining the parts first would take twice as long. */
export function writeParameters(memory: LinearMemory, address: number, parts: readonly Parameters[]): void {
  const { integers, floats } = memory.words;
  const start = address >>> 2;
  integers.fill(0, start, start + FIELDS.length);
  for (const part of parts) {
    for (const name in part) {
      const place = PLACES.get(name)!;
      const value = part[name as Field]!;
      if (FLOAT_PLACES.has(place)) floats[start + place] = value;
      else integers[start + place] = value;
    }
  }
}

/** Whether JavaScript and WebAssembly agree about the size of the block. */
export function checkParameterBlock(kernels: Kernels): boolean {
  return kernels.attentionParametersBytes() === PARAMETER_BYTES;
}
