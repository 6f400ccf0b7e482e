// The forms in which kernels may be supplied, and how each becomes a module of this very version.

import { identity } from '../../build/identity.js';
import { AttentionError, invalidArgument } from './errors.js';
import { probeFeatures } from '../platform/features.js';
import type { Build } from './kernels.js';

/** One build of the kernels: compiled, as bytes, as an answer of the network, or the address to fetch it from. */
export type WasmContent = WebAssembly.Module | ArrayBuffer | ArrayBufferView | Response | URL | string;

/** The same at once or later. A function is called when its build was chosen, and only then. */
export type WasmSource =
  WasmContent | PromiseLike<WasmContent> | (() => WasmContent | PromiseLike<WasmContent>);

/** The builds a program brings. One is enough; `simd` runs in every engine that has SIMD. */
export type WasmSources = { readonly [build in Build]?: WasmSource | undefined };

/** Which build of which pack is asked for. */
interface Wanted {
  readonly pack: string;
  readonly build: Build;
}

/**
 * @param shared for a shared memory; then a compiled module does not do
 * @throws AttentionError INVALID_ARGUMENT, INVALID_FILE for what is not this version's build, UNSUPPORTED
 */
export async function compile(
  pack: string,
  build: Build,
  source: WasmSource | undefined,
  shared: boolean,
): Promise<WebAssembly.Module> {
  const wanted = { pack, build };
  const module = await toModule(wanted, await contentOf(wanted, source), shared);
  const [signature] = WebAssembly.Module.customSections(module, 'wasm-attention');
  const found = signature && String.fromCharCode(...new Uint8Array(signature));
  if (found !== `${pack} ${build} ${identity}`) {
    throw notTheBuild(wanted, found === undefined ? 'another module' : `the build '${found}'`);
  }
  return module;
}

/** What a source brings, as something that a worker can be sent: a compiled module, or bytes. */
export async function contentOf(
  wanted: Wanted,
  source: WasmSource | undefined,
): Promise<WebAssembly.Module | Bytes> {
  const content = await bring(source);
  return isA<WebAssembly.Module>(content, 'WebAssembly.Module') ? content : read(wanted, content);
}

type Content = WasmContent | PromiseLike<WasmContent> | undefined;

/** The type of modules is empty, so functions cannot be told from them by types. */
async function bring(source: unknown): Promise<WasmContent | undefined> {
  try {
    return await (typeof source === 'function' ? (source as () => Content)() : (source as Content));
  } catch (error) {
    // What a program supplies may compile something itself, as the embedded builds do to unpack themselves.
    if (!(error instanceof WebAssembly.CompileError) || probeFeatures().compiles) throw error;
    throw compilingForbidden(error);
  }
}

async function toModule(
  wanted: Wanted,
  content: WebAssembly.Module | Bytes,
  shared: boolean,
): Promise<WebAssembly.Module> {
  if (!isA<WebAssembly.Module>(content, 'WebAssembly.Module')) {
    return compileBytes(wanted, shared ? forSharedMemory(content) : content);
  }
  if (shared)
    throw new AttentionError({
      code: 'UNSUPPORTED',
      message: 'threads need the bytes of a build, not a module',
    });
  return content;
}

/** What stands before the flags of the memory that a module imports, and how far into a module at most: the build checks it. */
const MEMORY_IMPORT = '\x03env\x06memory\x02';
const HEAD_BYTES = 1024;

/** The same kernels for a shared memory: one bit of the import of the memory tells them apart. */
function forSharedMemory(bytes: Bytes): Bytes {
  const copy = ArrayBuffer.isView(bytes)
    ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength).slice()
    : new Uint8Array(bytes).slice();
  const head = String.fromCharCode(...copy.subarray(0, HEAD_BYTES));
  const at = head.indexOf(MEMORY_IMPORT);
  if (at >= 0) copy[at + MEMORY_IMPORT.length]! |= 2;
  return copy;
}

type Bytes = ArrayBuffer | ArrayBufferView<ArrayBuffer>; // the engines' own types want memory that is not shared

async function read(wanted: Wanted, content: WasmContent | undefined): Promise<Bytes> {
  if (isA<ArrayBuffer>(content, 'ArrayBuffer') || ArrayBuffer.isView(content)) return content as Bytes;
  const response = isAddress(content) ? await fetchFrom(wanted, content) : (content as Response | undefined);
  if (typeof response?.arrayBuffer !== 'function') {
    throw invalidArgument(
      argumentOf(wanted),
      'a WebAssembly.Module, bytes, a Response or an address',
      content,
    );
  }
  if (!response.ok) throw notTheBuild(wanted, `status ${response.status} from ${response.url}`);
  return response.arrayBuffer();
}

function isAddress(content: unknown): content is URL | string {
  return typeof content === 'string' || isA<URL>(content, 'URL');
}

/** By its tag, which objects of other realms share. */
function isA<T>(value: unknown, tag: string): value is T {
  return Object.prototype.toString.call(value) === `[object ${tag}]`;
}

async function fetchFrom(wanted: Wanted, address: URL | string): Promise<Response> {
  try {
    return await fetch(address);
  } catch (cause) {
    throw notTheBuild(wanted, `no answer from ${String(address)}`, cause);
  }
}

async function compileBytes(wanted: Wanted, bytes: Bytes): Promise<WebAssembly.Module> {
  try {
    return await WebAssembly.compile(bytes);
  } catch (cause) {
    if (!WebAssembly.validate(bytes))
      throw notTheBuild(wanted, `${bytes.byteLength} bytes that are no whole module`);
    throw compilingForbidden(cause); // the bytes are sound, so it is not they that are refused
  }
}

/** Some engines refuse the module, others its instance. */
function compilingForbidden(cause: unknown): AttentionError {
  return new AttentionError({
    code: 'UNSUPPORTED',
    message:
      `this page or engine forbids compiling WebAssembly: a Content-Security-Policy needs 'wasm-unsafe-eval' in ` +
      `script-src, an edge runtime a compiled module (wasm-attention/slim): ${String((cause as Error)?.message ?? cause)}`,
    cause,
  });
}

function notTheBuild(wanted: Wanted, received: string, cause?: unknown): AttentionError {
  const { pack, build } = wanted;
  const file = pack === 'attention' ? `${build}.wasm` : `${pack}-${build}.wasm`;
  const expected = `the ${file} of this version of wasm-attention`;
  return new AttentionError({
    code: 'INVALID_FILE',
    argument: argumentOf(wanted),
    expected,
    received,
    cause,
  });
}

/** As `createRuntime` of `wasm-attention/slim` calls those of attention. */
function argumentOf({ pack, build }: Wanted): string {
  return pack === 'attention' ? `wasm.${build}` : `${pack}.wasm.${build}`;
}
