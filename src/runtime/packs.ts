// Kernel packs: modules of kernels over a runtime's one memory. *attention* is always there; others come with the entries
// that need them, and loaded before use, because compiling is asynchronous and operations are not.

import type { Packs } from '../../build/kernels.js';
import { checkOptions } from './checks.js';
import type { NamesOf } from './checks.js';
import { AttentionError, invalidArgument } from './errors.js';
import type { WasmSources } from './wasm-source.js';

/**
 * Kernels that a runtime can load beside those of attention, for the entry `wasm-attention/<name>`, which exports it as
 * `<name>`. With `wasm-attention/slim`, a program that supplies the builds itself makes one:
 * `{ name: 'benchmark', wasm: { simd: '/benchmark-simd.wasm', relaxed: '/benchmark-relaxed.wasm' } }`.
 */
export interface KernelPack {
  /** That of the entry it belongs to. */
  readonly name: string;
  /** Its builds: the runtime takes the one of the same name as its own. */
  readonly wasm: WasmSources;
}

/** Names of the packs that operations can ask for. */
export type PackName = keyof Packs;

export const WASM_NAMES = { simd: 1, relaxed: 1 } satisfies NamesOf<WasmSources>;
const PACK_NAMES = { name: 1, wasm: WASM_NAMES } satisfies NamesOf<KernelPack>;

export function checkPack(argument: string, pack: KernelPack): KernelPack {
  checkOptions(pack, PACK_NAMES, {}, argument);
  if (typeof pack.name === 'string') return pack;
  throw invalidArgument(`${argument}.name`, 'a name', pack.name);
}

/** The option `packs`. */
export function checkPacks(packs: readonly KernelPack[]): readonly KernelPack[] {
  if (!Array.isArray(packs)) throw invalidArgument('packs', 'an array of kernel packs', packs);
  return packs.map((pack: KernelPack, i) => checkPack(`packs[${i}]`, pack));
}

export function packMissing(name: PackName): AttentionError {
  return new AttentionError({
    code: 'INVALID_STATE',
    argument: name,
    message:
      `the kernel pack '${name}' is not loaded: await runtime.load(${name}) before, or createRuntime({ packs: [${name}] }), ` +
      `with ${name} from 'wasm-attention/${name}'`,
  });
}
