/** One real node as a child process of the demo, started through the launcher as a user would. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import * as v from 'valibot';
import { SECOND } from '../../util/clock.ts';
import { errorMessage, WeirError } from '../../util/errors.ts';

const LAUNCHER: string = fileURLToPath(new URL('../weir', import.meta.url));

/** Milliseconds within which a starting node must be ready; it takes less than one second. */
const START_TIMEOUT = 20 * SECOND;

/** Milliseconds between SIGTERM and SIGKILL. */
const STOP_TIMEOUT = 10 * SECOND;

/** Lines of the node's log that are shown when it fails. */
const KEPT_LINES = 20;

/** The multiaddr at which a node listens for others (github.com/multiformats/multiaddr). */
const CLUSTER_ADDRESS = /^\/ip4\/([0-9.]+)\/tcp\/(\d+)$/;

/** The fields of the node's log that the demo needs. */
const lineSchema = v.object({
  msg: v.string(),
  level: v.optional(v.string()),
  // In other lines the same fields may hold something else.
  addresses: v.optional(v.fallback(v.array(v.string()), [])),
});

export interface ChildNodeOptions {
  /** The arguments of `weir node`. */
  readonly arguments: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Its owner must end it, also if the demo exits at once ({@link kill}). */
export class ChildNode implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  readonly #exited: Promise<unknown>;
  #mirror: URL | undefined;
  #admin: URL | undefined;
  #cluster: string | undefined;

  /** Spawns it; {@link untilReady} waits for it. */
  constructor(options: ChildNodeOptions) {
    this.#child = spawn(LAUNCHER, ['node', ...options.arguments], {
      env: { ...options.env },
      stdio: ['ignore', 'ignore', 'pipe'],
      // It has its own process group: Ctrl-C in the terminal must reach only the demo, which then stops the node.
      detached: true,
    });
    this.#exited = once(this.#child, 'exit').catch((error: unknown) => {
      this.#lines.push(`cannot be started: ${errorMessage(error)}`);
    });
  }

  /** @throws WeirError `internal` with the end of its log if it does not get ready; it has been stopped then */
  async untilReady(options: { readonly signal: AbortSignal }): Promise<void> {
    try {
      await this.#waitForLog(options.signal);
    } catch (error) {
      await this.stop();
      options.signal.throwIfAborted();
      throw new WeirError('internal', `the node did not start: ${errorMessage(error)}${this.log()}`, {
        cause: error,
      });
    }
  }

  get mirror(): URL {
    if (this.#mirror === undefined)
      throw new WeirError('internal', 'the log of the node has no address of its mirror');
    return this.#mirror;
  }

  get admin(): URL {
    if (this.#admin === undefined)
      throw new WeirError('internal', 'the log of the node has no admin address');
    return this.#admin;
  }

  /** `127.0.0.1:PORT` at which other nodes reach it; undefined without a cluster. */
  get cluster(): string | undefined {
    return this.#cluster;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Whether the process still runs. */
  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null && this.#child.pid !== undefined;
  }

  /** The last lines of its log, for an error message. */
  log(): string {
    return this.#lines.map((line) => `\n  ${line}`).join('');
  }

  /** Its state, and the latest warnings of its log. */
  describe(): string {
    const ending = this.#child.signalCode ?? this.#child.exitCode;
    const state = this.isRunning ? 'the node still runs' : `the node has ended by itself with ${ending}`;
    const wanted = this.#lines.filter((line) => {
      const parsed = v.safeParse(lineSchema, parseJson(line));
      return !parsed.success || ['warn', 'error', 'fatal'].includes(parsed.output.level ?? '');
    });
    return [state, ...wanted].join('\n  ');
  }

  /** Stops it by SIGTERM. @returns how it ended: `0`, `1`, `SIGKILL` */
  async stop(): Promise<number | NodeJS.Signals | null> {
    if (this.isRunning) {
      this.#child.kill('SIGTERM');
      const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_TIMEOUT);
      await this.#exited;
      clearTimeout(timer);
    }
    return this.#child.signalCode ?? this.#child.exitCode;
  }

  /** Kills it at once, for an exit that does not wait, such as a second Ctrl-C: a node must not outlive the demo. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #waitForLog(signal: AbortSignal): Promise<void> {
    const { promise: ready, resolve } = Promise.withResolvers<void>();
    if (this.#child.stderr === null) throw new WeirError('internal', 'no log');
    createInterface({ input: this.#child.stderr }).on('line', (line) => {
      this.#lines.push(line);
      if (this.#lines.length > KEPT_LINES) this.#lines.shift();
      const parsed = v.safeParse(lineSchema, parseJson(line));
      if (parsed.success && this.#note(parsed.output)) resolve();
    });
    const limit = AbortSignal.any([signal, AbortSignal.timeout(START_TIMEOUT)]);
    const { promise: stopped, reject } = Promise.withResolvers<never>();
    const onAbort = (): void => reject(limit.reason instanceof Error ? limit.reason : new Error('aborted'));
    limit.addEventListener('abort', onAbort, { once: true });
    const died = this.#exited.then(() => {
      throw new Error(`it ended with ${this.#child.signalCode ?? this.#child.exitCode}`);
    });
    try {
      await Promise.race([ready, stopped, died]);
    } finally {
      limit.removeEventListener('abort', onAbort);
      died.catch(() => undefined); // its end is expected later
    }
  }

  /** Whether this line says that the node is ready. */
  #note(line: v.InferOutput<typeof lineSchema>): boolean {
    const [address] = line.addresses ?? [];
    if (line.msg === 'mirror listening' && address !== undefined) this.#mirror = new URL(address);
    if (line.msg === 'admin listening' && address !== undefined) this.#admin = new URL(address);
    const [, host, port] = CLUSTER_ADDRESS.exec(address ?? '') ?? [];
    if (line.msg === 'cluster listening' && port !== undefined) this.#cluster = `${host}:${port}`;
    return line.msg === 'ready';
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // a message of the launcher or of Node.js: it is kept for the error
  }
}
