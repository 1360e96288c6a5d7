/** Progress line by line, as `docker build --progress=plain` prints it, on standard error. */
import type { Progress, Vertex } from '../../store/builds/progress.js';
import { safeText } from '../frame/names.js';
import { say } from '../frame/output.js';

/** Seconds with so many digits. */
export const seconds = (since: number, digits: number): string =>
  ((performance.now() - since) / 1000).toFixed(digits);

/** Lines of a step's output as they become whole; the last one without its end stays. */
export class Lines {
  #rest = '';

  take(text: string): string[] {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    return lines.map(shown);
  }

  last(): string[] {
    const { length } = this.#rest;
    const line = shown(this.#rest);
    this.#rest = '';
    return length === 0 ? [] : [line];
  }
}

/** What a progress bar has drawn over is gone; tabs stay. */
const shown = (line: string): string =>
  (line.replace(/\r$/, '').split('\r').at(-1) ?? '').split('\t').map(safeText).join('\t');

export class PlainProgress implements Progress {
  #count = 0;

  begin(name: string): Vertex {
    const number = ++this.#count;
    const since = performance.now();
    const lines = new Lines();
    const tell = (text: string): void => {
      say(`#${number} ${text}`);
    };
    const print = (list: readonly string[]): void => {
      for (const line of list) tell(`${seconds(since, 3)} ${line}`);
    };
    const end = (text: string): void => {
      print(lines.last());
      tell(text);
      say('');
    };
    tell(safeText(name.replaceAll('\n', ' ')));
    return {
      output(text) {
        print(lines.take(text));
      },
      cached() {
        end('CACHED');
      },
      done() {
        end(`DONE ${seconds(since, 1)}s`);
      },
      failed(sentence) {
        end(`ERROR: ${safeText(sentence)}`);
      },
    };
  }

  warn(sentence: string): void {
    say(`[Warning] ${safeText(sentence)}`);
  }

  end(): void {
    // Every line has been written already.
  }
}
