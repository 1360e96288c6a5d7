/** Progress as a picture that is drawn again, as `docker build` shows it on a terminal. */
import type { Progress, Vertex } from '../../store/builds/progress.js';
import { safeText } from '../frame/names.js';
import { printBytes } from '../frame/output.js';
import { Lines, seconds } from './plain.js';

const EVERY_MS = 100;
/** Lines of output that a running step shows. */
const TAIL = 5;

interface Step {
  readonly name: string;
  readonly since: number;
  readonly lines: string[];
  took: string | undefined;
  state: 'running' | 'cached' | 'done' | 'failed';
}

const write = (text: string): void => {
  printBytes(Buffer.from(text, 'utf8'), 2);
};

export class LiveProgress implements Progress {
  readonly #steps: Step[] = [];
  readonly #begun = performance.now();
  readonly #timer = setInterval(() => {
    this.#draw();
  }, EVERY_MS);
  #height = 0;
  #ended = false;

  begin(name: string): Vertex {
    const step: Step = {
      name: safeText(name.replaceAll('\n', ' ')),
      since: performance.now(),
      lines: [],
      took: undefined,
      state: 'running',
    };
    this.#steps.push(step);
    const lines = new Lines();
    const end = (state: Step['state']): void => {
      step.lines.push(...lines.last());
      step.took = seconds(step.since, 1);
      step.state = state;
    };
    return {
      output(text) {
        step.lines.push(...lines.take(text));
        // What a failed step has said is shown in full, but not without bound.
        if (step.lines.length > 2000) step.lines.splice(0, 1000);
      },
      cached() {
        end('cached');
      },
      done() {
        end('done');
      },
      failed() {
        end('failed');
      },
    };
  }

  warn(sentence: string): void {
    this.#clear();
    write(`[Warning] ${safeText(sentence)}\n`);
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearInterval(this.#timer);
    this.#draw();
    for (const { name, state, lines } of this.#steps) {
      if (state !== 'failed' || lines.length === 0) continue;
      write(`------\n > ${name}:\n${lines.map((line) => `${line}\n`).join('')}------\n`);
    }
  }

  #clear(): void {
    if (this.#height > 0) write(`\u001b[${this.#height}A\u001b[J`);
    this.#height = 0;
  }

  #draw(): void {
    const { columns, rows } = process.stderr;
    const finished = this.#steps.filter(({ state }) => state !== 'running').length;
    const all = `[+] Building ${seconds(this.#begun, 1)}s (${finished}/${this.#steps.length})`;
    const lines = [all, ...this.#steps.flatMap((step) => stepLines(step, columns))];
    // While it goes on, no more than the screen holds: what is above cannot be drawn again.
    const kept = this.#ended ? lines : [lines[0], ...lines.slice(1).slice(-(rows - 2))];
    this.#clear();
    write(kept.map((line) => `${line}\n`).join(''));
    this.#height = this.#ended ? 0 : kept.length;
  }
}

function stepLines({ name, since, lines, took, state }: Step, columns: number): string[] {
  const mark = { running: ' =>', cached: ' => CACHED', done: ' =>', failed: ' => ERROR' }[state];
  const time = `${took ?? seconds(since, 1)}s`;
  const room = Math.max(10, columns - time.length - 2);
  const text = Array.from(`${mark} ${name}`).slice(0, room).join('').padEnd(room);
  const tail = state === 'running' ? lines.slice(-TAIL) : [];
  const shown = tail.map((line) =>
    Array.from(` => => # ${line}`)
      .slice(0, columns - 1)
      .join(''),
  );
  return [`${text} ${time}`, ...shown];
}
