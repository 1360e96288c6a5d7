/** One line on stderr that says where the run is: a bar on a terminal, a line a step elsewhere. */
export function progressLine(): (done: number, total: number, text: string) => void {
  const start = Date.now();
  const terminal = process.stderr.isTTY;
  return (done, total, text) => {
    const elapsed = (Date.now() - start) / 1000;
    const left = done > 0 ? (elapsed / done) * (total - done) : 0;
    const full = Math.round((20 * done) / Math.max(total, 1));
    const bar = '#'.repeat(full).padEnd(20, '.');
    const line = `[${bar}] ${done}/${total} ${clock(elapsed)}, ${clock(left)} left: ${text}`;
    process.stderr.write(terminal ? `\r\x1b[K${line}${done === total ? '\n' : ''}` : `${line}\n`);
  };
}

function clock(seconds: number): string {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`;
}
