// Bad conditions: the wrong bytes, engines without what is needed, an import that nothing follows.

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { createRuntime } from 'wasm-attention/slim';
import type { WasmSource } from 'wasm-attention/slim';

const dist = (name: string) => new URL(`../../dist/${name}`, import.meta.url);
const simd = readFileSync(dist('simd.wasm'));
const relaxed = readFileSync(dist('relaxed.wasm'));
const load = (source: unknown, threads = 1) =>
  createRuntime({ build: 'simd', threads, wasm: { simd: source as WasmSource } });

describe('a build that a program brings', () => {
  it.each<[string, () => unknown]>([
    ['a module', () => WebAssembly.compile(simd)],
    ['bytes', () => new Uint8Array(simd)],
    ['an ArrayBuffer', () => new Uint8Array(simd).buffer],
    ['an answer of the network', () => new Response(simd)],
    ['an address', () => `data:application/wasm;base64,${simd.toString('base64')}`],
    ['a URL', () => new URL(`data:application/wasm;base64,${simd.toString('base64')}`)],
    ['a promise', () => Promise.resolve(simd)],
    ['a function', () => () => Promise.resolve(simd)],
  ])('may be %s', async (_, make) => {
    const runtime = await load(make());
    expect(runtime.info.build).toBe('simd');
    runtime.dispose();
  });

  it('serves threads if it is bytes, and one thread with the reason if it is a module', async () => {
    const threaded = await load(simd, 2);
    expect(threaded.info.threads).toBe(2);
    threaded.dispose();
    const alone = await load(await WebAssembly.compile(simd), 2);
    expect(alone.info).toMatchObject({
      threads: 1,
      threadsReason: expect.stringContaining('bytes') as string,
    });
    alone.dispose();
  });

  const changed = Buffer.from(simd);
  changed[changed.length - 1]! ^= 1; // the last character of the identity
  it.each<[string, unknown, string]>([
    ['truncated bytes', simd.subarray(0, 1000), 'INVALID_FILE'],
    ['no bytes', new Uint8Array(0), 'INVALID_FILE'],
    ['a page instead of the file', Buffer.from('<!doctype html>'), 'INVALID_FILE'],
    ['another version', changed, 'INVALID_FILE'],
    ['another build', relaxed, 'INVALID_FILE'],
    ['another module', Buffer.from('0061736d01000000', 'hex'), 'INVALID_FILE'],
    ['an answer that the file is not there', new Response('', { status: 404 }), 'INVALID_FILE'],
    ['an address that nobody answers', 'http://127.0.0.1:1/simd.wasm', 'INVALID_FILE'],
    ['nothing', undefined, 'INVALID_ARGUMENT'],
    ['something else', 42, 'INVALID_ARGUMENT'],
  ])('is refused if it is %s', async (_, source, code) => {
    await expect(load(source)).rejects.toMatchObject({ code, argument: 'wasm.simd' });
  });

  it('is not touched if another is chosen', async () => {
    const never = () => {
      throw new Error('called');
    };
    const runtime = await createRuntime({ deterministic: true, wasm: { simd, relaxed: never } });
    expect(runtime.info.build).toBe('simd');
    runtime.dispose();
  });

  it('is simd, with the reason, where relaxed was not supplied', async () => {
    const runtime = await createRuntime({ wasm: { simd } });
    expect(runtime.info).toMatchObject({ build: 'simd', reason: 'the relaxed build was not supplied' });
    runtime.dispose();
  });
});

/** What a program prints that first changes its engine and then imports the package. */
async function inEngine(change: string, program: string, entry = 'index.mjs'): Promise<string> {
  const code = `${change}
const library = await import(${JSON.stringify(fileURLToPath(dist(entry)))});
const { createRuntime, AttentionError } = library;
${program}`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code]);
  return stdout.trim();
}

const printError = `await createRuntime().catch((error) =>
  console.log(error instanceof AttentionError, error.code, error.message));`;

describe('an engine', () => {
  it.each(['index.mjs', 'slim.mjs', 'index.cjs'])(
    'without WebAssembly imports %s, and is told on use',
    async (entry) => {
      // Hermes also lacks much of what the platform has beside the language.
      const change = `for (const name of ['WebAssembly', 'TextDecoder', 'SharedArrayBuffer', 'Atomics', 'fetch', 'Response', 'URL'])
      delete globalThis[name];`;
      const options = entry === 'slim.mjs' ? '{ wasm: {} }' : '';
      const use = `await createRuntime(${options}).catch((error) => console.log(error.code, error.message));`;
      expect(await inEngine(change, use, entry)).toBe(
        'UNSUPPORTED wasm-attention needs WebAssembly; this engine has none',
      );
    },
  );

  it('without SIMD is told so', async () => {
    expect(await inEngine('WebAssembly.validate = () => false;', printError)).toBe(
      'true UNSUPPORTED wasm-attention needs WebAssembly with 128-bit SIMD; this engine lacks SIMD',
    );
  });

  const refuse = `function refuse() { throw new WebAssembly.CompileError('blocked by policy'); }`;

  it.each([
    ['to compile', `${refuse} WebAssembly.Module = refuse; WebAssembly.compile = async () => refuse();`],
    ['to make an instance, as WebKit does,', `${refuse} WebAssembly.Instance = refuse;`],
  ])('that forbids %s is told what would allow it', async (_, change) => {
    const printed = await inEngine(change, printError);
    expect(printed).toMatch(
      /^true UNSUPPORTED .*'wasm-unsafe-eval'.*wasm-attention\/slim.*blocked by policy/,
    );
  });

  it('that forbids compiling runs a module compiled beforehand, as edge runtimes do', async () => {
    const change = `import { readFileSync } from 'node:fs';
      const compiled = new WebAssembly.Module(readFileSync(${JSON.stringify(fileURLToPath(dist('simd.wasm')))}));
      WebAssembly.Module = new Proxy(WebAssembly.Module, { construct() { throw new Error('blocked'); } });
      WebAssembly.compile = () => Promise.reject(new Error('blocked'));`;
    const use = `const { info } = await createRuntime({ wasm: { simd: compiled, relaxed: compiled } });
      console.log(info.build, info.reason);`;
    expect(await inEngine(change, use, 'slim.mjs')).toBe(
      'simd nothing may be compiled here, so relaxed SIMD could not be tried',
    );
  });
});

describe('an import that nothing follows, as in a page rendered on a server', () => {
  it.each(['index.mjs', 'index.cjs', 'slim.mjs', 'worker-runtime.mjs', 'model-worker-runtime.mjs'])(
    'of %s touches nothing',
    async (entry) => {
      const change = `const touched = [];
      for (const name of ['WebAssembly', 'Worker', 'fetch', 'navigator', 'document', 'crossOriginIsolated']) {
        Object.defineProperty(globalThis, name, { configurable: true, get() { touched.push(name); } });
      }
      const after = Reflect.ownKeys(globalThis).length;`;
      const use = `console.log(JSON.stringify({ touched, added: Reflect.ownKeys(globalThis).length - after }));`;
      expect(await inEngine(change, use, entry)).toBe('{"touched":[],"added":0}');
    },
  );
});
