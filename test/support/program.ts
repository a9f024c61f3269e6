/**
 * Real programs under test: started, awaited by a log line or by a port that answers, and ended by their pid.
 *
 * Every program dies with the test process (`setpriv --pdeathsig`), so that a killed run leaves nothing behind.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { SECOND } from '../../src/util/clock.ts';

/** Lines kept per program for failure messages and for waiters that come late. */
const KEPT_LINES = 20_000;
/** Lines of output that a failure message shows. */
const SHOWN_LINES = 40;
/** A program that does not end on SIGTERM is killed after this many milliseconds. */
const STOP_GRACE = 15 * SECOND;
const READY_TIMEOUT = 20 * SECOND;

export interface ProgramOptions {
  readonly command: string;
  readonly args: readonly string[];
  /** Added to the environment of the tests. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Argv before the command, as `nsenter …` to enter a namespace. */
  readonly within?: readonly string[] | undefined;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

type LineListener = (line: string) => void;

/** A program that runs until it is stopped. */
export class Program implements AsyncDisposable {
  readonly name: string;
  readonly pid: number;
  readonly exited: Promise<Exit>;
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  readonly #listeners = new Set<LineListener>();
  #exit: Exit | undefined;

  private constructor(name: string, child: ChildProcess, pid: number) {
    this.name = name;
    this.pid = pid;
    this.#child = child;
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        this.#exit = { code, signal };
        resolve(this.#exit);
      });
    });
    for (const stream of [child.stdout, child.stderr]) this.#read(stream);
  }

  static async start(options: ProgramOptions): Promise<Program> {
    const child = spawnProgram(options);
    await once(child, 'spawn');
    return new Program(options.command, child, child.pid ?? 0);
  }

  /** How it ended; undefined while it runs. */
  get exit(): Exit | undefined {
    return this.#exit;
  }

  /** All lines of stdout and stderr so far. */
  get lines(): readonly string[] {
    return this.#lines;
  }

  /** Calls `listener` for each further line, until the program ends. */
  onLine(listener: LineListener): void {
    this.#listeners.add(listener);
  }

  /** The first line that matches, from the start of the output or from line `from` of {@link lines}. */
  async line(
    pattern: RegExp,
    options: { readonly timeout?: number; readonly from?: number } = {},
  ): Promise<RegExpExecArray> {
    const { timeout = READY_TIMEOUT, from = 0 } = options;
    const found = this.#lines.slice(from).map((line) => pattern.exec(line));
    const past = found.find((match) => match !== null);
    if (past) return past;
    const { promise, resolve } = Promise.withResolvers<RegExpExecArray>();
    const listener: LineListener = (line) => {
      const match = pattern.exec(line);
      if (match !== null) resolve(match);
    };
    this.#listeners.add(listener);
    try {
      return await this.#orFailure(promise, timeout, `no line of output matched ${String(pattern)}`);
    } finally {
      this.#listeners.delete(listener);
    }
  }

  /** Waits until `ready` resolves to true; asked again every 50 ms, a rejection counts as "not yet". */
  async until(ready: () => Promise<boolean>, options: { readonly timeout?: number } = {}): Promise<void> {
    const { timeout = READY_TIMEOUT } = options;
    const deadline = Date.now() + timeout;
    for (;;) {
      const isReady = await ready().catch(() => false);
      if (isReady) return;
      if (this.#exit !== undefined) throw this.failure('it ended before it was ready');
      if (Date.now() > deadline) throw this.failure(`it was not ready after ${timeout} ms`);
      await delay(50);
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Ends it with `signal` and waits; SIGKILL follows after a grace. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Exit> {
    if (this.#exit !== undefined) return this.#exit;
    this.#child.kill(signal);
    const killer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_GRACE);
    try {
      return await this.exited;
    } finally {
      clearTimeout(killer);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** An error with the program's last output. */
  failure(problem: string): Error {
    const exit = this.#exit ? ` (exit code ${this.#exit.code}, signal ${this.#exit.signal})` : '';
    const tail = this.#lines.slice(-SHOWN_LINES).join('\n');
    return new Error(`${this.name}: ${problem}${exit}; its last output:\n${tail}`);
  }

  #read(stream: Readable | null): void {
    if (stream === null) return;
    createInterface({ input: stream }).on('line', (line) => {
      this.#lines.push(line);
      if (this.#lines.length > KEPT_LINES) this.#lines.shift();
      for (const listener of this.#listeners) listener(line);
    });
  }

  async #orFailure<T>(wanted: Promise<T>, timeout: number, problem: string): Promise<T> {
    const timer = new AbortController();
    const late = delay(timeout, undefined, { signal: timer.signal }).then(() => {
      throw this.failure(`${problem} within ${timeout} ms`);
    });
    const ended = this.exited.then(async () => {
      await delay(100, undefined, { signal: timer.signal }); // the pipes may still hold its last lines
      throw this.failure(problem);
    });
    try {
      return await Promise.race([wanted, late, ended]);
    } finally {
      timer.abort();
      await Promise.allSettled([late]);
      ended.catch(() => undefined);
    }
  }
}

export interface Result extends Exit {
  readonly stdout: string;
  readonly stderr: string;
  /** Milliseconds. */
  readonly duration: number;
  /** Whether it was killed for running longer than its time-out. */
  readonly timedOut: boolean;
}

export type RunOptions = Omit<ProgramOptions, 'command' | 'args'> & {
  readonly input?: string | Uint8Array;
  /** Milliseconds. */
  readonly timeout?: number;
};

/** Runs a program to its end, with any exit code. */
export async function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Result> {
  const { input, timeout = 120 * SECOND, ...rest } = options;
  const start = performance.now();
  const child = spawnProgram({ command, args, ...rest });
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    child.kill('SIGKILL');
  }, timeout);
  try {
    child.stdin?.on('error', () => undefined); // EPIPE of a program that ends without reading
    child.stdin?.end(input);
    const [[code, signal], stdout, stderr] = await Promise.all([
      once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>,
      child.stdout ? text(child.stdout) : '',
      child.stderr ? text(child.stderr) : '',
    ]);
    return { code, signal, stdout, stderr, timedOut, duration: performance.now() - start };
  } finally {
    clearTimeout(timer);
  }
}

/** Runs a program that must succeed, and returns its stdout. */
export async function runOk(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const result = await run(command, args, options);
  if (result.code !== 0) throw new Error(describeResult(`${command} ${args.join(' ')}`, result));
  return result.stdout;
}

export function describeResult(what: string, result: Result): string {
  const ended = result.timedOut
    ? `was killed after ${Math.round(result.duration)} ms`
    : `ended with code ${result.code}`;
  return `${what} ${ended}:\n${result.stdout.slice(-2000)}\n${result.stderr.slice(-4000)}`;
}

function spawnProgram(options: ProgramOptions): ChildProcess {
  const { command, args, env = {}, cwd, within = [] } = options;
  const argv = ['--pdeathsig', 'TERM', ...within, command, ...args];
  return spawn('setpriv', argv, {
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(cwd === undefined ? {} : { cwd }),
  });
}
