// What a browser makes of a file of sound: samples, mono, at Whisper's rate.

import { SAMPLE_RATE } from './log-mel.mjs';

/**
 * @param {Blob} file  in any form that the browser plays
 * @returns {Promise<Float32Array>}
 */
export async function samplesOf(file) {
  // Decoding resamples to the rate of the context.
  const context = new OfflineAudioContext(1, 1, SAMPLE_RATE);
  const sound = await context.decodeAudioData(await file.arrayBuffer());
  const mono = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel++) {
    sound.getChannelData(channel).forEach((sample, i) => (mono[i] += sample / sound.numberOfChannels));
  }
  return mono;
}
