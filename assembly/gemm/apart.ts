// The micro-kernel for each number of rows, for entries to export, so that the optimiser keeps each of them a function of its own:
// inlined into their caller they spill.

import { fourTiles as fourMicroKernels, Rows1, Rows2, Rows3, Rows4, Rows5, Rows6, tile, twoPanels as panels } from './tile';

export { rowOverFourPanels, twoRowsOverTwoPanels } from './row';

export function tile1(a: usize, panel: usize, c: usize, depth: i32, adding: bool): void {
  tile<Rows1>(a, panel, c, depth, adding);
}
export function tile2(a: usize, panel: usize, c: usize, depth: i32, adding: bool): void {
  tile<Rows2>(a, panel, c, depth, adding);
}
export function tile3(a: usize, panel: usize, c: usize, depth: i32, adding: bool): void {
  tile<Rows3>(a, panel, c, depth, adding);
}
export function tile4(a: usize, panel: usize, c: usize, depth: i32, adding: bool): void {
  tile<Rows4>(a, panel, c, depth, adding);
}
export function tile5(a: usize, panel: usize, c: usize, depth: i32, adding: bool): void {
  tile<Rows5>(a, panel, c, depth, adding);
}
export function tile6(a: usize, panel: usize, c: usize, depth: i32, adding: bool): void {
  if (ASC_FEATURE_RELAXED_SIMD) tile<Rows6>(a, panel, c, depth, adding);
}
export function fourTiles(a: usize, panel: usize, c: usize, depth: i32, adding: bool): void {
  if (ASC_FEATURE_RELAXED_SIMD) fourMicroKernels<Rows6>(a, panel, c, depth, adding);
  else fourMicroKernels<Rows5>(a, panel, c, depth, adding);
}
export function twoPanels4(a: usize, panel: usize, panelStride: usize, c: usize, depth: i32, adding: bool): void {
  panels<Rows4>(a, panel, panelStride, c, depth, adding);
}
export function twoPanels5(a: usize, panel: usize, panelStride: usize, c: usize, depth: i32, adding: bool): void {
  panels<Rows5>(a, panel, panelStride, c, depth, adding);
}
export function twoPanels6(a: usize, panel: usize, panelStride: usize, c: usize, depth: i32, adding: bool): void {
  if (ASC_FEATURE_RELAXED_SIMD) panels<Rows6>(a, panel, panelStride, c, depth, adding);
}
