// Compiles assembly/ into build/<target>.wasm, one file for every target of asconfig.json, in this one process. Beside
// them it writes what the bundles take of them: build/identity.ts and build/embedded.ts. Run from the repository root.

import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

/** Builds every target and returns the paths it wrote. */
export async function buildWasm() {
  const { entries, targets } = JSON.parse(await readFile('asconfig.json', 'utf8'));
  const files = [];
  for (const target of Object.keys(targets)) {
    const start = performance.now();
    const { error } = await asc.main([...entries, '--config', 'asconfig.json', '--target', target], {
      stdout: process.stdout,
      stderr: { write: (text) => text.startsWith('Last converge') || process.stderr.write(text) }, // a remark, not a fault
      writeFile: async (name, contents) => {
        files.push({ target, name, contents, start });
      },
    });
    if (error) throw new Error(`The ${target} build failed: ${error.message}`);
  }
  // The same for every build of the same kernels: by it the JavaScript knows its own.
  const hash = createHash('sha256');
  for (const { contents } of files) hash.update(contents);
  const identity = hash.digest('hex').slice(0, 16);
  for (const file of files) file.contents = signed(file.contents, `${file.target} ${identity}`);

  const builds = files.map(({ target, contents }) => ({ target, contents }));
  for (const { name, contents, start = performance.now() } of [
    ...files,
    { name: 'build/identity.ts', contents: identify(identity, builds) },
    { name: 'build/embedded.ts', contents: embed(builds) },
  ]) {
    await mkdir(dirname(name), { recursive: true });
    await writeFile(name, contents);
    console.log(progressLine(name, contents.length, start));
  }
  return [...files.map(({ name }) => name), 'build/identity.ts', 'build/embedded.ts'];
}

/** The module with a custom section `wasm-attention` that holds a text. */
function signed(wasm, text) {
  const sized = (content) => Buffer.from([content.length, ...content]); // one byte of LEB128: content below 128 bytes
  const name = sized(Buffer.from('wasm-attention'));
  return Buffer.concat([wasm, Buffer.from([0]), sized(Buffer.concat([name, Buffer.from(text)]))]);
}

/** What the JavaScript has to know of the files: who they are, and where they say whether their memory is shared. */
function identify(identity, builds) {
  const importOfMemory = Buffer.from('\x03env\x06memory\x02');
  const flags = builds.map(({ contents }) => contents.indexOf(importOfMemory) + importOfMemory.length);
  if (flags.some((flag) => flag !== flags[0]))
    throw new Error('The builds import their memory at different places');
  return `export const identity = '${identity}';\nexport const sharedFlag = ${flags[0]};\n`;
}

/** Printable characters that are safe in every kind of string literal and inside an HTML page; `!` means one plane up. */
const ALPHABET = Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index))
  .filter((character) => !'!"\'<\\`$'.includes(character))
  .join('');

/**
 * All builds as one module of text: a character for a byte, a piece of the first build, the same piece of the second, and
 * so on. Compressed for the network that is half of what base64 takes, because the bytes' repetitions stay visible and
 * because the pieces keep the builds, which hardly differ, within the 32 kB that deflate looks back.
 */
function embed(builds) {
  const pieceBytes = 8000;
  const pieces = [];
  for (let from = 0; builds.some(({ contents }) => from < contents.length); from += pieceBytes) {
    for (const { contents } of builds) {
      pieces.push(Array.from(contents.subarray(from, from + pieceBytes), toText).join(''));
    }
  }
  const list = (strings) => `[\n${strings.map((text) => `  '${text}',\n`).join('')}]`;
  return [
    `export const alphabet = '${ALPHABET}';`,
    `export const builds = ${list(builds.map(({ target }) => target))} as const;`,
    `export const pieces: readonly string[] = ${list(pieces)};\n`,
  ].join('\n');
}

function toText(byte) {
  return '!'.repeat(Math.floor(byte / ALPHABET.length)) + ALPHABET[byte % ALPHABET.length];
}

/** One line for one finished file. */
export function progressLine(name, bytes, start) {
  const size = `${(bytes / 1000).toFixed(1)} kB`;
  const time = `${((performance.now() - start) / 1000).toFixed(1)} s`;
  return `  ${name.padEnd(20)} ${size.padStart(10)} ${time.padStart(8)}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildWasm();
