/** One after the other: what concerns one snapshot waits for what concerned it before. */
export class Queues {
  readonly #last = new Map<number, Promise<unknown>>();

  run<T>(id: number, act: () => Promise<T>): Promise<T> {
    const before = this.#last.get(id) ?? Promise.resolve();
    const mine = before.then(act, act);
    this.#last.set(id, mine);
    const done = (): void => {
      if (this.#last.get(id) === mine) this.#last.delete(id);
    };
    mine.then(done, done);
    return mine;
  }
}
