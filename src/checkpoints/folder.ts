export type FolderSource = string;
export function openFolder(folder: unknown, options?: unknown): Promise<{ config: unknown; weights: Uint8Array; modules: unknown }> { void folder; void options; throw new Error('not yet'); }
