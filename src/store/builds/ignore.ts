/** .dockerignore, as Docker reads it. */
import dockerignoreModule from '@balena/dockerignore';
import { display } from '../../base/bytes.js';
import type { Ignored } from './sourceTree.js';

interface Matcher {
  add(pattern: string): Matcher;
  ignores(path: string): boolean;
}

// Its declaration says `export default`, its code is CommonJS: what is imported is the function itself.
const dockerignore = dockerignoreModule as unknown as () => Matcher;

/** `text`: the file's. */
export function readIgnore(text: string): Ignored {
  const patterns = text
    .replace(/^\ufeff/, '')
    .split(/\r?\n/)
    .filter((line) => !line.startsWith('#'))
    .map((line) => line.trim())
    .filter((line) => line !== '' && line !== '!');
  if (patterns.length === 0) return () => false;
  const matcher = dockerignore().add(patterns.join('\n'));
  return (path) => path !== '' && matcher.ignores(display(path));
}
