// A Worker that looks up one vector among others by attention, say embeddings of a question and of documents:
//
//   POST { "query": [..], "keys": [[..], ..], "values": [[..], ..], "scale": 8 }  ->  { "weights": [..], "output": [..] }
//
// `values` are the keys if absent; `scale` sharpens the choice. What is wrong with a request is told with status 400.

import { AttentionError, createRuntime, scaledDotProductAttention } from 'wasm-attention';

/** One runtime for all requests that an isolate answers. */
let runtime;

export default {
  async fetch(request) {
    if (request.method !== 'POST') return Response.json({ message: 'POST query and keys' }, { status: 405 });
    runtime ??= createRuntime();
    try {
      return Response.json(lookUp(await runtime, (await request.json()) ?? {}));
    } catch (error) {
      if (error instanceof AttentionError || error instanceof SyntaxError) {
        return Response.json({ code: error.code, message: error.message }, { status: 400 });
      }
      throw error;
    }
  },
};

function lookUp(runtime, { query, keys, values = keys, scale }) {
  const inputs = [rows([query]), rows(keys), rows(values)];
  const result = scaledDotProductAttention(...inputs, { runtime, scale, returnWeights: true });
  try {
    return { weights: [...result.weights.data], output: [...result.output.data] };
  } finally {
    result.dispose();
  }
}

/** Lists of numbers as a tensor, [1, 1, rows, channels]. Whatever else they are is for the library to refuse. */
function rows(lists) {
  return { data: lists?.flat?.(), shape: [1, 1, lists?.length, lists?.[0]?.length] };
}
