// Encoders of pictures: patches and tokens before them, norms before each sublayer. Touch: what ViT, DeiT, DINOv2 and CLIP share.

import type { ConfigReader } from '../config.js';
import type {
  CheckpointNames,
  HeadDescription,
  PatchInput,
  SingleDescription,
  Source,
} from '../description.js';
import { headsOf, layerNormBlock } from './blocks.js';
import type { BlockNames, BlockSettings } from './blocks.js';
import { logitsHead, matrixStep, present } from './heads.js';
import { activationOf, forLayers, layersOf } from './settings.js';
import { matrixOf, Tensors } from './tensors.js';

export const VIT_ATTENTION = [
  'attention.attention.query',
  'attention.attention.key',
  'attention.attention.value',
  'attention.output.dense',
] as const;

interface PatchNames {
  readonly projection: string;
  readonly bias?: boolean;
  readonly positions: string;
  /** Axes before those of the positions. */
  readonly leading?: readonly number[];
  /** Sides where the config does not say. */
  readonly imageSide?: number;
  readonly patchSide?: number;
}

/** The patches of a picture. What comes before them has a token for each of `first`. */
export function patchInput(
  config: ConfigReader,
  tensors: Tensors,
  embedDim: number,
  first: PatchInput['first'],
  { projection, bias = true, positions, leading = [1], imageSide, patchSide }: PatchNames,
): PatchInput {
  const channels = config.integer('num_channels', 3);
  const imageSize = sides(config, 'image_size', imageSide);
  const patchSize = sides(config, 'patch_size', patchSide);
  const [rows, columns] = imageSize.map((side, axis) => Math.floor(side / patchSize[axis]!)) as [
    number,
    number,
  ];
  if (rows < 1 || columns < 1)
    throw config.invalid('patch_size', `at most the picture's ${imageSize.join(' x ')}`, patchSize);
  const inFeatures = channels * patchSize[0] * patchSize[1];
  const weight = tensors.source(`${projection}.weight`, embedDim, channels, ...patchSize);
  const biasSource = bias ? tensors.source(`${projection}.bias`, embedDim) : undefined;
  return {
    kind: 'patches',
    imageSize,
    patchSize,
    channels,
    projection: { ...matrixOf(weight, biasSource), inFeatures },
    first,
    positions: tensors.source(positions, ...leading, rows * columns + first.length, embedDim),
  };
}

/** One number for both sides of a square, or [height, width]. */
function sides(config: ConfigReader, name: string, usual?: number): readonly [number, number] {
  const [height = usual, width = height, ...others] = config.integers(name, 1);
  if (height !== undefined && width !== undefined && others.length === 0) return [height, width];
  throw config.invalid(name, 'one side, or [height, width]', others.length ? 'more than two' : undefined);
}

/** ViT's names, which DeiT has too. */
const VIT_BLOCK: BlockNames = {
  attention: VIT_ATTENTION,
  attentionNorm: 'layernorm_before',
  feedForward: ['intermediate.dense', 'output.dense'],
  feedForwardNorm: 'layernorm_after',
};

/** ViT, or with more tokens before the patches DeiT. */
export function vitModel(
  config: ConfigReader,
  names: CheckpointNames,
  family: string,
  firstNames: readonly string[],
): SingleDescription {
  const root = new Tensors(names);
  const tensors = Tensors.find(names, [`${family}.`, ''], 'embeddings.cls_token');
  const sizes = headsOf(config);
  const { embedDim } = sizes;
  const embeddings = tensors.under('embeddings.');
  const settings: BlockSettings = {
    sizes,
    inner: config.integer('intermediate_size'),
    epsilon: config.number('layer_norm_eps', 1e-12),
    activation: activationOf(config, 'hidden_act', 'gelu'),
    bias: config.boolean('qkv_bias', true),
    outputBias: true,
  };
  // Of a decoder that draws pictures.
  config.skip('encoder_stride');
  return {
    kind: 'vision',
    family,
    stack: {
      embedDim,
      input: patchInput(config, embeddings, embedDim, firstTokens(embeddings, embedDim, firstNames), {
        projection: 'patch_embeddings.projection',
        positions: 'position_embeddings',
      }),
      blocks: forLayers(layersOf(config), (layer) =>
        layerNormBlock(tensors.under(`encoder.layer.${layer}.`), VIT_BLOCK, settings, 'before'),
      ),
      norm: tensors.layerNorm('layernorm', embedDim, settings.epsilon),
    },
    heads: present(pooler(config, tensors, embedDim), logitsHead(root, 'classifier', 'first', embedDim)),
    buffers: [/embeddings\.mask_token$/],
  };
}

/** Learned tokens before the patches, [1, 1, embedDim] each. */
export function firstTokens(tensors: Tensors, embedDim: number, names: readonly string[]): Source[] {
  return names.map((name) => tensors.source(name, 1, 1, embedDim));
}

function pooler(config: ConfigReader, tensors: Tensors, embedDim: number): HeadDescription | false {
  const activation = activationOf(config, 'pooler_act', 'tanh');
  const width = config.integer('pooler_output_size', embedDim);
  return (
    tensors.has('pooler.dense.weight') && {
      name: 'poolerOutput',
      of: 'first',
      steps: [matrixStep(tensors.matrix('pooler.dense', embedDim, width), activation)],
    }
  );
}
