// The cases of gradients: where they lie, their tensors, and when a result counts as equal. Nothing of them is copied into this
// repository.

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Runtime } from 'wasm-attention';
import { gradientCasesFile, requirements } from '../support/requirements.mjs';

export interface GradientTensor {
  readonly dtype: 'float32' | 'int32' | 'bool';
  readonly dims: readonly number[];
  readonly data: Float32Array | Int32Array | Uint8Array;
}

type GradientTensors = Readonly<Record<string, GradientTensor>>;

export interface GradientCase {
  readonly name: string;
  readonly op: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly inputs: GradientTensors;
  readonly upstream: GradientTensors;
  readonly outputs: GradientTensors;
  readonly tolerance_hint: Readonly<Record<string, number>>;
}

/** What computes the cases of an operation: the numbers of each of their outputs, by name. */
export type GradientOperation = (
  runtime: Runtime,
  given: GradientCase,
) => Record<string, ArrayLike<number>> | Promise<Record<string, ArrayLike<number>>>;

const arrays = { float32: Float32Array, int32: Int32Array, bool: Uint8Array };

function tensor({ dtype, dims, b64 }: { dtype: keyof typeof arrays; dims: number[]; b64: string }) {
  return { dtype, dims, data: new arrays[dtype](Uint8Array.from(Buffer.from(b64, 'base64')).buffer) };
}

/** All cases, none where the project stands without them. A file that WASM_ATTENTION_GRADIENTS names must exist. */
export function gradientCases(): GradientCase[] {
  if (!requirements['gradient-cases']!.isMet()) return [];
  const { cases } = JSON.parse(readFileSync(resolve(gradientCasesFile()), 'utf8')) as { cases: never[] };
  return cases.map((one: Record<string, Record<string, never>>) => {
    const decoded: Record<string, unknown> = { ...one };
    for (const part of ['inputs', 'upstream', 'outputs']) {
      decoded[part] = Object.fromEntries(
        Object.entries(one[part] ?? {}).map(([name, stored]) => [name, tensor(stored)]),
      );
    }
    return { options: {}, tolerance_hint: {}, ...decoded } as unknown as GradientCase;
  });
}

/** What is wrong with the outputs of a case; infinities and what is no number must be the same. */
export function wrongOutputs(
  { outputs, tolerance_hint: hints }: GradientCase,
  actual: Record<string, ArrayLike<number>>,
): string[] {
  return Object.entries(outputs).flatMap(([name, { data: expected }]) => {
    const own = actual[name];
    if (own?.length !== expected.length) return [`${name}: ${own?.length} numbers, not ${expected.length}`];
    let worst = 0;
    for (let i = 0; i < expected.length; i++) {
      const want = expected[i]!;
      if (Object.is(own[i], want) || own[i] === want) continue;
      const limit = 1e-5 + 1e-4 * Math.abs(want) + 8 * (hints[name] ?? 0);
      const share = Math.abs(own[i]! - want) / limit;
      if (!(share <= worst)) worst = Number.isNaN(share) ? Infinity : share;
    }
    return worst <= 1 ? [] : [`${name}: ${worst.toPrecision(3)} times what is allowed`];
  });
}
