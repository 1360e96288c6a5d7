/** Where the run is, on stderr: a bar on a terminal, a line a step elsewhere. */
import type { Progress } from './runner.js';

function clock(seconds: number): string {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`;
}

/** Elapsed and remaining time, as the steps so far have gone. */
class Times {
  readonly #start = Date.now();

  text(done: number, total: number): string {
    const elapsed = (Date.now() - this.#start) / 1000;
    const left = done > 0 ? (elapsed / done) * (total - done) : 0;
    return `${clock(elapsed)}, ${clock(left)} left`;
  }
}

function lines(): Progress {
  const times = new Times();
  return {
    step: (done, total, text) => {
      process.stderr.write(`${done}/${total} ${times.text(done, total)}: ${text}\n`);
    },
    end: () => undefined,
  };
}

/** The bar comes from a development package: where only the package is installed, there are lines. */
export async function progressBar(): Promise<Progress> {
  if (!process.stderr.isTTY) return lines();
  const progress = await import('cli-progress').catch(() => undefined);
  if (!progress) return lines();
  const times = new Times();
  const format = '[{bar}] {value}/{total} {times}: {text}';
  const bar = new progress.default.SingleBar({
    format,
    barsize: 20,
    hideCursor: true,
    stream: process.stderr,
  });
  let started = false;
  return {
    step: (done, total, text) => {
      const payload = { times: times.text(done, total), text };
      if (started) bar.update(done, payload);
      else bar.start(total, done, payload);
      started = true;
    },
    end: () => bar.stop(),
  };
}
