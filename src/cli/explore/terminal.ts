/** The view on a terminal: keys in, screens out, and the terminal as it was afterwards. */
import { emitKeypressEvents } from 'node:readline';
import type { Explored } from '../../store/explore/explore.js';
import { print } from '../frame/output.js';
import { View } from './view.js';

const ENTER = '\u001b[?1049h\u001b[?25l';
const LEAVE = '\u001b[?25h\u001b[?1049l';
const HOME = '\u001b[H';
const CLEAR_LINE = '\u001b[K';
const CLEAR_BELOW = '\u001b[J';

interface Key {
  readonly name?: string;
  readonly ctrl?: boolean;
}

/** Resolves when the user leaves. */
export async function runTerminal(explored: Explored): Promise<void> {
  const view = new View(explored);
  const { stdin, stdout } = process;
  const draw = (): void => {
    const lines = view.render(stdout.columns, stdout.rows);
    print(HOME + lines.map((line) => line + CLEAR_LINE).join('\r\n') + CLEAR_BELOW);
  };
  emitKeypressEvents(stdin);
  stdin.setRawMode(true);
  print(ENTER);
  stdout.on('resize', draw);
  try {
    draw();
    await new Promise<void>((resolve, reject) => {
      stdin.on('keypress', (text: string | undefined, key: Key) => {
        try {
          const page = Math.max(1, stdout.rows - 4);
          const leaves = key.ctrl === true && (key.name === 'c' || key.name === 'd');
          if (leaves || !view.key(key.name ?? '', text ?? '', page)) resolve();
          else draw();
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      });
      stdin.on('end', resolve);
      for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.once(signal, resolve);
      stdin.resume();
    });
  } finally {
    stdout.off('resize', draw);
    stdin.setRawMode(false);
    stdin.pause();
    print(LEAVE);
  }
}
