// Patches of pictures become rows, so that a convolution is a product:
//
//   row [y * width + x] = [channel][kernel row][kernel column], zeros where a patch reaches beyond the picture
//
// Sound is a picture of height 1.

/** What a call is. Strides are bytes. */
@unmanaged
export class UnfoldParameters {
  picture: usize;
  channelStride: usize;
  rowStride: usize;
  columnStride: usize;
  channels: i32;
  height: i32;
  width: i32;
  kernelHeight: i32;
  kernelWidth: i32;
  strideDown: i32;
  strideRight: i32;
  paddingTop: i32;
  paddingLeft: i32;
  /** Patches side by side. */
  across: i32;
}

/** Patches [first + rowFrom, first + rowTo) to rows [rowFrom, rowTo) of `target`, one after the other. `scratch` is not needed. */
export function unfold(parameters: usize, first: i32, target: usize, scratch: usize, rowFrom: i32, rowTo: i32): void {
  const p = changetype<UnfoldParameters>(parameters);
  let at = target + (<usize>(rowFrom * p.channels * p.kernelHeight * p.kernelWidth) << 2);
  for (let patch = first + rowFrom; patch < first + rowTo; patch++) {
    const top = (patch / p.across) * p.strideDown - p.paddingTop;
    const left = (patch % p.across) * p.strideRight - p.paddingLeft;
    for (let channel = 0; channel < p.channels; channel++) {
      const plane = p.picture + <usize>channel * p.channelStride;
      for (let row = top; row < top + p.kernelHeight; row++) {
        const from = plane + <usize>row * p.rowStride;
        const inside = row >= 0 && row < p.height;
        const end = at + (<usize>p.kernelWidth << 2);
        if (inside && left >= 0 && left + p.kernelWidth <= p.width) {
          let source = from + <usize>left * p.columnStride;
          if (p.columnStride == 4) {
            for (; at + 16 <= end; at += 16, source += 16) v128.store(at, v128.load(source));
          }
          for (const step = p.columnStride; at < end; at += 4, source += step) store<f32>(at, load<f32>(source));
        } else {
          for (let column = left; at < end; at += 4, column++) {
            const there = inside && column >= 0 && column < p.width;
            store<f32>(at, there ? load<f32>(from + <usize>column * p.columnStride) : 0);
          }
        }
      }
    }
  }
}
