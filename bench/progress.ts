/** One bar on stderr that says where a run is: drawn in place on a terminal, a line at times elsewhere. */
import { SingleBar } from 'cli-progress';

export interface ProgressBar {
  readonly step: (done: number, total: number, text: string) => void;
  /** Must be called, also when the run fails: until then a timer keeps the process. */
  readonly end: () => void;
}

export function startProgress(): ProgressBar {
  const bar = new SingleBar({
    format: '[{bar}] {value}/{total} {duration_formatted}, {eta_formatted} left: {text}',
    barCompleteChar: '#',
    barIncompleteChar: '.',
    barsize: 20,
    stream: process.stderr,
    noTTYOutput: true,
    notTTYSchedule: 10_000,
    hideCursor: true,
  });
  let running = false;
  return {
    step(done, total, text) {
      if (!running) bar.start(total, done, { text });
      running = true;
      bar.update(done, { text });
    },
    end() {
      if (running) bar.stop();
    },
  };
}
