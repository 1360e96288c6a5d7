/** What a build tells while it goes on: BuildKit's lines, or its live picture on a terminal. */

/** One thing that is done: a step, the reading of the context, an export. */
export interface Vertex {
  /** Output of the step. */
  output(text: string): void;
  cached(): void;
  done(): void;
  failed(sentence: string): void;
}

export interface Progress {
  /** `name`: `[2/4] RUN make`. */
  begin(name: string): Vertex;
  warn(sentence: string): void;
  end(): void;
}

export const silent: Progress = {
  begin: () => ({
    output: () => undefined,
    cached: () => undefined,
    done: () => undefined,
    failed: () => undefined,
  }),
  warn: () => undefined,
  end: () => undefined,
};
