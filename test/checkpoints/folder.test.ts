// Tests of src/checkpoints/folder.ts: what is found of a model's folder, wherever that is.

import { openAsBlob } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { describe, expect, test } from 'vitest';

import { openCheckpoint } from '../../src/checkpoints/checkpoint.js';
import { openFolder } from '../../src/checkpoints/folder.js';
import { writeSafetensors } from '../../src/checkpoints/write-safetensors.js';
import { AttentionError } from '../../src/runtime/errors.js';
import { serveFiles } from '../support/file-server.js';

type Contents = Record<string, Uint8Array<ArrayBuffer>>;

function textFile(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

function jsonFile(value: unknown): Uint8Array<ArrayBuffer> {
  return textFile(JSON.stringify(value));
}

const weight = { dtype: 'F32', shape: [2], data: Float32Array.of(1, 2) } as const;
const config = { model_type: 'bert', hidden_size: 2 };
const modules = [
  { idx: 0, name: '0', path: '', type: 'sentence_transformers.models.Transformer' },
  { idx: 1, name: '1', path: '1_Pooling', type: 'sentence_transformers.models.Pooling' },
  { idx: 2, name: '2', path: '2_Normalize', type: 'sentence_transformers.models.Normalize' },
];

const plain: Contents = {
  'config.json': jsonFile(config),
  'model.safetensors': await writeSafetensors({ weight }),
};

const sentences: Contents = {
  ...plain,
  'modules.json': jsonFile(modules),
  '1_Pooling/config.json': jsonFile({ pooling_mode_mean_tokens: true }),
  'sentence_bert_config.json': jsonFile({ max_seq_length: 128 }),
  'generation_config.json': jsonFile({ eos_token_id: 3 }),
};

const sharded: Contents = {
  'config.json': jsonFile(config),
  'model.safetensors.index.json': jsonFile({ weight_map: { a: 'one.safetensors', b: 'two.safetensors' } }),
  'one.safetensors': await writeSafetensors({ a: weight }),
  'two.safetensors': await writeSafetensors({ b: weight }),
};

type Where = (
  contents: Contents,
  use: (folder: Parameters<typeof openFolder>[0]) => Promise<void>,
) => Promise<void>;

const places: [where: string, place: Where][] = [
  ['a record', (contents, use) => use(contents)],
  [
    'a function',
    (contents, use) => use((name) => Promise.resolve(contents[name] && new Blob([contents[name]]))),
  ],
  [
    'an address',
    async (contents, use) => {
      const files = Object.entries(contents).map(([name, bytes]) => [`org/model/${name}`, { bytes }]);
      await using server = await serveFiles(Object.fromEntries(files) as never);
      await use(`${server.base}org/model?download=true`);
    },
  ],
  [
    'an address of a server without ranges',
    async (contents, use) => {
      const files = Object.entries(contents).map(([name, bytes]) => [
        `model/${name}`,
        { bytes, ranges: false },
      ]);
      await using server = await serveFiles(Object.fromEntries(files) as never);
      await use(new URL(`${server.base}model/`));
    },
  ],
  [
    'a folder of Node',
    async (contents, use) => {
      const path = await mkdtemp(join(tmpdir(), 'model-'));
      try {
        for (const [name, bytes] of Object.entries(contents)) {
          await mkdir(dirname(join(path, name)), { recursive: true });
          await writeFile(join(path, name), bytes);
        }
        await use((name) => openAsBlob(join(path, name)));
      } finally {
        await rm(path, { recursive: true });
      }
    },
  ],
];

async function errorOf(action: () => Promise<unknown>): Promise<AttentionError> {
  try {
    await action();
  } catch (error) {
    if (error instanceof AttentionError) return error;
    throw error;
  }
  throw new Error('expected an error, none was thrown');
}

describe.each(places)('%s', (_where, place) => {
  test('with a config and one file', () =>
    place(plain, async (folder) => {
      const found = await openFolder(folder);
      expect(found.config).toEqual(config);
      expect([found.modules, found.generationConfig, found.sentenceConfig]).toEqual([
        undefined,
        undefined,
        undefined,
      ]);
      const { tensors } = await openCheckpoint(found.weights);
      expect([...tensors.keys()]).toEqual(['weight']);
    }));

  test('of sentence-transformers', () =>
    place(sentences, async (folder) => {
      const found = await openFolder(folder);
      expect(found.modules).toEqual([
        { type: 'sentence_transformers.models.Transformer', path: '', config: undefined },
        {
          type: 'sentence_transformers.models.Pooling',
          path: '1_Pooling',
          config: { pooling_mode_mean_tokens: true },
        },
        { type: 'sentence_transformers.models.Normalize', path: '2_Normalize', config: undefined },
      ]);
      expect(found.generationConfig).toEqual({ eos_token_id: 3 });
      expect(found.sentenceConfig).toEqual({ max_seq_length: 128 });
    }));

  test('with shards', () =>
    place(sharded, async (folder) => {
      const { weights } = await openFolder(folder);
      const { tensors } = await openCheckpoint(weights);
      expect([...tensors.keys()]).toEqual(['a', 'b']);
    }));

  test('without a config', () =>
    place({ 'model.safetensors': plain['model.safetensors'] as never }, async (folder) => {
      const error = await errorOf(() => openFolder(folder));
      expect(error.message).toMatch(/config.json/);
      expect(['INVALID_FILE', 'READ_FAILED']).toContain(error.code);
    }));
});

describe('files that are not what they say', () => {
  const cases: [why: string, contents: Contents, message: RegExp][] = [
    ['no weights', { 'config.json': jsonFile(config) }, /expected model.safetensors or .*, got neither/],
    [
      'a config that is a list',
      { ...plain, 'config.json': jsonFile([]) },
      /config.json: expected an object, got \[\]/,
    ],
    [
      'a config that is null',
      { ...plain, 'config.json': jsonFile(null) },
      /config.json: expected an object, got null/,
    ],
    [
      'a config that is text',
      { ...plain, 'config.json': jsonFile('x') },
      /config.json: expected an object, got "x"/,
    ],
    ['broken JSON', { ...plain, 'config.json': textFile('{') }, /config.json: expected valid JSON/],
    [
      'broken UTF-8',
      { ...plain, 'config.json': Uint8Array.of(0x22, 0xff, 0x22) },
      /config.json: expected UTF-8/,
    ],
    [
      'a setting twice',
      { ...plain, 'config.json': textFile('{"a":{"b":1,"b":2}}') },
      /every key once, got "b" again/,
    ],
    [
      'a prototype',
      { ...plain, 'config.json': textFile('{"a":[{"__proto__":{}}]}') },
      /"__proto__" among them/,
    ],
    ['modules that are no list', { ...plain, 'modules.json': jsonFile({}) }, /modules.json: expected a list/],
    [
      'a module that is null',
      { ...plain, 'modules.json': jsonFile([null]) },
      /modules.json\[0\]: expected a type/,
    ],
    ...['../1', '/etc', 'a//b', 'https://elsewhere.org'].map((path): [string, Contents, RegExp] => [
      `a module in ${path}`,
      { ...plain, 'modules.json': jsonFile([{ type: 'x', path }]) },
      /modules.json\[0\]: expected a type and the name of a folder/,
    ]),
    [
      'an index that is a list',
      { ...plain, 'model.safetensors.index.json': jsonFile([]) },
      /an object, got \[\]/,
    ],
  ];

  test.each(cases)('%s', async (_why, contents, message) => {
    const error = await errorOf(() => openFolder(contents));
    expect(error.code).toBe('INVALID_FILE');
    expect(error.message).toMatch(message);
  });

  test('nests of a million levels', async () => {
    const deep = textFile(`{"a":${'['.repeat(1e6)}${']'.repeat(1e6)}}`);
    const result = await openFolder({ ...plain, 'config.json': deep }).catch((error: unknown) => error);
    if (result instanceof Error) expect(result).toMatchObject({ code: 'INVALID_FILE' });
    else expect(Object.keys((result as { config: object }).config)).toEqual(['a']);
  });

  test('what a record inherits', async () => {
    const inherited = Object.create(plain) as Contents;
    expect((await errorOf(() => openFolder(inherited))).message).toMatch(/config.json, got none/);
  });

  test('a folder that is none', async () => {
    expect((await errorOf(() => openFolder(5 as never))).message).toMatch(/folder: expected a base address/);
    expect((await errorOf(() => openFolder('model'))).message).toMatch(/folder: expected a whole address/);
    expect((await errorOf(() => openFolder(plain, { cash: 1 } as never))).message).toMatch(/cash/);
  });

  test('an error of a function goes through', async () => {
    const error = new Error('mine');
    await expect(openFolder(() => Promise.reject(error))).rejects.toBe(error);
  });
});

describe('servers', () => {
  test('that send a page for what they do not know', async () => {
    const page = { bytes: textFile('\n<!DOCTYPE html><html></html>') };
    const names = [
      'modules.json',
      'generation_config.json',
      'sentence_bert_config.json',
      'model.safetensors.index.json',
    ];
    await using server = await serveFiles({
      ...Object.fromEntries(names.map((name) => [name, page])),
      'config.json': { bytes: plain['config.json'] as never },
      'model.safetensors': { bytes: plain['model.safetensors'] as never },
    });
    const found = await openFolder(server.base);
    expect(found.modules).toBeUndefined();
    server.files.set('config.json', page);
    expect((await errorOf(() => openFolder(server.base))).message).toMatch(
      /config.json: expected JSON, got a page/,
    );
  });

  test.each([
    [403, true],
    [410, true],
    [401, false],
    [500, false],
  ])('that answer %i for a file that need not be there', async (status, absent) => {
    await using server = await serveFiles({
      'config.json': { bytes: plain['config.json'] as never },
      'generation_config.json': {
        bytes: plain['config.json'] as never,
        answer: (_, response) => !!response.writeHead(status).end(),
      },
    });
    if (absent) return expect((await openFolder(server.base)).generationConfig).toBeUndefined();
    const error = await errorOf(() => openFolder(server.base));
    expect(error).toMatchObject({ code: 'READ_FAILED', argument: `${server.base}generation_config.json` });
  });

  test('that refuse the config', async () => {
    await using server = await serveFiles({
      'config.json': { bytes: new Uint8Array(1), answer: (_, response) => !!response.writeHead(403).end() },
    });
    expect((await errorOf(() => openFolder(server.base))).received).toBe('status 403 Forbidden');
  });

  test('that do not answer, until the call is aborted', async () => {
    await using server = await serveFiles({
      'config.json': { bytes: plain['config.json'] as never, stallsAt: 3 },
    });
    const controller = new AbortController();
    setTimeout(() => controller.abort('enough'), 50);
    await expect(openFolder(server.base, { signal: controller.signal })).rejects.toBe('enough');
  });
});
