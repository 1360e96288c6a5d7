/** What `stratafs build` asks for. */
import type { Platform } from '../images/platform.js';
import type { Reference } from '../images/reference.js';
import type { RegistryOptions } from '../transfer/skopeo.js';
import type { ContextInput } from './context.js';
import type { Variables } from './parse/words.js';
import type { Progress } from './progress.js';

/** `--secret id=ID[,src=PATH|,env=VARIABLE]`. */
export interface Secret {
  readonly id: string;
  /** The content, read before the build begins. */
  readonly data: Buffer;
}

export interface BuildOptions {
  readonly input: ContextInput;
  readonly tags: readonly Reference[];
  readonly target: string | undefined;
  readonly buildArgs: Variables;
  readonly labels: Variables;
  readonly platform: Platform | undefined;
  readonly secrets: readonly Secret[];
  readonly cache: boolean;
  readonly squash: boolean;
  /** Ask the registry for the images of FROM also when they are here. */
  readonly pull: boolean;
  readonly registry: RegistryOptions;
  readonly network: 'host' | 'none';
  readonly addHosts: readonly string[];
  readonly progress: Progress;
  readonly signal: AbortSignal;
}
