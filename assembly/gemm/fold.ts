// The way back of `unfold`: gradients of patches are added to the picture that they were cut from. Patches overlap, so a tile is a
// channel, and an element of the picture gets what belongs to it in the order of the patches.

import { UnfoldParameters } from './unfold';

/**
 * Patches [first, first + count) to channels [tileFrom, tileTo) of the picture's gradient.
 *
 * @param parameters UnfoldParameters, whose picture is the gradient
 * @param source     rows of patches as `unfold` writes them, one after the other
 * @param clears     the channels hold something else before
 * @param scratch    not needed
 */
export function fold(
  parameters: usize, first: i32, count: i32, source: usize, clears: bool, scratch: usize, tileFrom: i32, tileTo: i32,
): void {
  const p = changetype<UnfoldParameters>(parameters);
  const patchBytes = <usize>(p.channels * p.kernelHeight * p.kernelWidth) << 2;
  const ofChannel = <usize>(p.kernelHeight * p.kernelWidth) << 2;
  for (let channel = tileFrom; channel < tileTo; channel++) {
    const plane = p.picture + <usize>channel * p.channelStride;
    if (clears) clear(p, plane);
    let rows = source + <usize>channel * ofChannel;
    for (let patch = first; patch < first + count; patch++, rows += patchBytes) {
      const top = (patch / p.across) * p.strideDown - p.paddingTop;
      const left = (patch % p.across) * p.strideRight - p.paddingLeft;
      let at = rows;
      for (let row = top; row < top + p.kernelHeight; row++) {
        for (let column = left; column < left + p.kernelWidth; column++, at += 4) {
          if (row < 0 || row >= p.height || column < 0 || column >= p.width) continue;
          const target = plane + <usize>row * p.rowStride + <usize>column * p.columnStride;
          store<f32>(target, load<f32>(target) + load<f32>(at));
        }
      }
    }
  }
}

function clear(p: UnfoldParameters, plane: usize): void {
  for (let row = 0; row < p.height; row++, plane += p.rowStride) {
    let at = plane;
    for (let column = 0; column < p.width; column++, at += p.columnStride) store<f32>(at, 0);
  }
}
