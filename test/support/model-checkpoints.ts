// Small published-looking checkpoints with known outputs, which may lie beside this project: one folder for each family.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { parseSafetensors } from '../../src/checkpoints/safetensors.js';
import { modelsFolder } from './requirements.mjs';

/** A tensor of expected.json. */
export interface StoredTensor {
  readonly dtype: 'float32' | 'int32';
  readonly dims: readonly number[];
  readonly b64: string;
}

export interface ModelCase {
  readonly name: string;
  readonly inputs: Readonly<Record<string, StoredTensor>>;
  readonly outputs: Readonly<Record<string, StoredTensor>>;
  readonly tolerance_hint: Readonly<Record<string, number>>;
}

export interface ModelCheckpoint {
  readonly name: string;
  /** By file: config.json, and config.v5.json where there is one. */
  readonly configs: Readonly<Record<string, object>>;
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  readonly values: (name: string) => Float32Array;
  readonly cases: readonly ModelCase[];
}

const json = (file: string): unknown => JSON.parse(readFileSync(file, 'utf8'));

/** Names of the folders. */
export function checkpointNames(): string[] {
  const folder = modelsFolder();
  if (!existsSync(folder)) return [];
  return readdirSync(folder).filter((name) => existsSync(`${folder}/${name}/config.json`));
}

export function readCheckpoint(name: string): ModelCheckpoint {
  const folder = `${modelsFolder()}/${name}`;
  const bytes = readFileSync(`${folder}/model.safetensors`);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<string, { shape: number[] }>;
  delete header['__metadata__'];
  const tensors = parseSafetensors(bytes);
  const configs = ['config.json', 'config.v5.json'].filter((file) => existsSync(`${folder}/${file}`));
  return {
    name,
    configs: Object.fromEntries(configs.map((file) => [file, json(`${folder}/${file}`) as object])),
    shapes: new Map(Object.entries(header).map(([tensor, { shape }]) => [tensor, shape])),
    values: (tensor) => tensors[tensor]!.data,
    cases: (json(`${folder}/expected.json`) as { cases: ModelCase[] }).cases,
  };
}

export function numbersOf({ dtype, b64 }: StoredTensor): Float32Array | Int32Array {
  const bytes = Uint8Array.from(Buffer.from(b64, 'base64'));
  return dtype === 'float32' ? new Float32Array(bytes.buffer) : new Int32Array(bytes.buffer);
}
