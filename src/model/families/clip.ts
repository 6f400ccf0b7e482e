// CLIP: texts and pictures in one space; each of its towers alone, too.

import type { ConfigReader } from '../config.js';
import type {
  BlockDescription,
  CheckpointNames,
  Family,
  HeadDescription,
  NormDescription,
  StackDescription,
} from '../description.js';
import { headsOf, layerNormBlock, SELF_ATTENTION } from './blocks.js';
import type { BlockNames, BlockSettings } from './blocks.js';
import { matrixStep } from './heads.js';
import { activationOf, forLayers, layersOf } from './settings.js';
import { learnedPositions, Tensors } from './tensors.js';
import { patchInput } from './vit-like.js';

const BLOCK: BlockNames = {
  attention: SELF_ATTENTION,
  attentionNorm: 'layer_norm1',
  feedForward: ['mlp.fc1', 'mlp.fc2'],
  feedForwardNorm: 'layer_norm2',
};

interface Tower {
  readonly stack: StackDescription;
  readonly heads: readonly HeadDescription[];
}

/** CLIP: text and pictures in one space. */
export const clip: Family = {
  modelTypes: ['clip', 'clip_text_model', 'clip_vision_model'],
  describe(config, names) {
    const type = config.choice('model_type', {
      clip: 'dual',
      clip_text_model: 'text',
      clip_vision_model: 'vision',
    });
    const buffers = [/embeddings\.position_ids$/];
    const width = config.integer('projection_dim', 512);
    if (type === 'text')
      return { kind: 'encoder', family: type, buffers, ...textTower(config, names, width, true) };
    if (type === 'vision')
      return { kind: 'vision', family: type, buffers, ...visionTower(config, names, width, true) };
    // How it is initialised.
    config.skip('logit_scale_init_value');
    const text = textTower(towerOf(config, 'text_config'), names, width, false);
    const vision = visionTower(towerOf(config, 'vision_config'), names, width, false);
    return {
      kind: 'dual',
      family: 'clip',
      buffers,
      text: text.stack,
      vision: vision.stack,
      textHeads: text.heads,
      visionHeads: vision.heads,
      logitScale: new Tensors(names).source('logit_scale'),
    };
  },
};

/** The settings of a tower: those of an older form count, where both are there. */
function towerOf(config: ConfigReader, name: string): ConfigReader {
  const older = config.section(`${name}_dict`);
  if (older) config.skip(name);
  const tower = older ?? config.section(name, {});
  // That of both together counts.
  tower.skip('projection_dim');
  return tower;
}

function settingsOf(
  config: ConfigReader,
  inner: number,
  [embedDim, heads]: readonly [number, number],
): BlockSettings {
  return {
    sizes: headsOf(config, 'hidden_size', 'num_attention_heads', [embedDim, heads]),
    inner: config.integer('intermediate_size', inner),
    epsilon: config.number('layer_norm_eps', 1e-5),
    activation: activationOf(config, 'hidden_act', 'quick_gelu'),
  };
}

function blocksOf(config: ConfigReader, tensors: Tensors, settings: BlockSettings): BlockDescription[] {
  return forLayers(layersOf(config, 'num_hidden_layers', 12), (layer) =>
    layerNormBlock(tensors.under(`encoder.layers.${layer}.`), BLOCK, settings, 'before'),
  );
}

/** What a tower gives: projected where there is a projection, as it must be beside another tower. */
function towerHead(
  names: CheckpointNames,
  { of, steps, endTokenId }: Pick<HeadDescription, 'of' | 'steps' | 'endTokenId'>,
  projection: string,
  [embedDim, width]: readonly [number, number],
  alone: boolean,
): HeadDescription {
  const root = new Tensors(names);
  if (alone && !root.has(`${projection}.weight`)) return { name: 'poolerOutput', of, endTokenId, steps };
  const project = matrixStep(root.matrix(projection, embedDim, width, false));
  return { name: 'features', of, endTokenId, steps: [...steps, project] };
}

function textTower(config: ConfigReader, names: CheckpointNames, width: number, alone: boolean): Tower {
  const tensors = Tensors.find(names, ['text_model.', ''], 'embeddings.token_embedding.weight');
  const settings = { ...settingsOf(config, 2048, [512, 8]), causal: true };
  const { sizes, epsilon } = settings;
  const { embedDim } = sizes;
  const maxLength = config.integer('max_position_embeddings', 77);
  const [endTokenId = 49407] = config.integers('eos_token_id');
  const embeddings = tensors.under('embeddings.');
  return {
    stack: {
      embedDim,
      input: {
        kind: 'tokens',
        table: embeddings.source('token_embedding.weight', config.integer('vocab_size', 49408), embedDim),
        positions: learnedPositions(embeddings, 'position_embedding', [maxLength, embedDim]),
      },
      blocks: blocksOf(config, tensors, settings),
      norm: tensors.layerNorm('final_layer_norm', embedDim, epsilon),
      maxLength,
    },
    heads: [
      towerHead(names, { of: 'end', endTokenId, steps: [] }, 'text_projection', [embedDim, width], alone),
    ],
  };
}

function visionTower(config: ConfigReader, names: CheckpointNames, width: number, alone: boolean): Tower {
  const tensors = Tensors.find(names, ['vision_model.', ''], 'embeddings.class_embedding');
  const settings = settingsOf(config, 3072, [768, 12]);
  const { embedDim } = settings.sizes;
  const norm = (name: string): NormDescription => tensors.layerNorm(name, embedDim, settings.epsilon);
  const embeddings = tensors.under('embeddings.');
  return {
    stack: {
      embedDim,
      input: {
        ...patchInput(config, embeddings, embedDim, [embeddings.source('class_embedding', embedDim)], {
          projection: 'patch_embedding',
          bias: false,
          positions: 'position_embedding.weight',
          leading: [],
          imageSide: 224,
          patchSide: 32,
        }),
        // Spelt so.
        norm: norm('pre_layrnorm'),
      },
      blocks: blocksOf(config, tensors, settings),
    },
    // The last norm is that of the class token only.
    heads: [
      towerHead(
        names,
        { of: 'first', steps: [{ kind: 'norm', norm: norm('post_layernorm') }] },
        'visual_projection',
        [embedDim, width],
        alone,
      ),
    ],
  };
}
