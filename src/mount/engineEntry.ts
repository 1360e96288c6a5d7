/** What an engine thread runs. Another file stands for this one in the bundled host (bundle.js). */
export const ENGINE_ENTRY = new URL('../fuse/engineThread.js', import.meta.url);
