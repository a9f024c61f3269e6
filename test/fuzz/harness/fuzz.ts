/**
 * Runs one target: the seeds and its corpus as they are, then inputs made of these by chance. Every input must be taken or
 * refused as the target says, in time; and memory must not grow over all of them.
 *
 * jazzer.js does the like, led by libFuzzer; its binaries need glibc 2.38, which Debian 12 has not.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import * as fc from 'fast-check';
import { trendOf, type Sample } from '../../../bench/churn/trend.ts';
import { heldBytes } from '../../support/memory.ts';
import { Chance, seedOf } from './chance.ts';
import { corpusOf, keepInput } from './corpus.ts';
import { Coverage } from './coverage.ts';
import { mutated } from './mutate.ts';
import { DEFAULT_LIMIT, type Run, type Target } from './target.ts';
import { Watchdog } from './watchdog.ts';

/** Inputs that are made between two looks at coverage. */
const BATCH = 64;
/** Bytes of inputs that reached new code; beyond it the oldest goes, or memory would grow with the run. */
const MAX_LEARNED = 4 * 1024 * 1024;
/** Right inputs that are made from a description. */
const STRUCTURED = 100;
/** Looks at memory over a run: trendOf wants twenty in its second half. */
const LOOKS = 48;
/** Fewer inputs say nothing about memory: caches fill, and code is compiled. */
const MIN_FOR_MEMORY = 20_000;
/** Bytes over a run below which no growth is told: caches that are bounded fill slowly. */
const MIN_GROWTH = 4 * 1024 * 1024;
/** Inputs that went wrong, of one kind or several, after which a target is not run further. */
const MAX_FAILURES = 8;
/** Further runs of an input that took longer than all before, and than so many milliseconds. */
const RETRIES = 2;
const WORTH_A_LOOK = 5;

export interface FuzzOptions {
  readonly seed: number;
  /** Inputs. */
  readonly runs: number;
  /** {@link performance.now} at which it ends; undefined: when the inputs are through. */
  readonly until?: number | undefined;
  /** Where inputs go that were found. */
  readonly folder: string;
  /** Multiplies the limits on time, for machines that have much else to do; default 1. */
  readonly slack?: number | undefined;
  /** Whether coverage leads: it finds more, and needs to look. */
  readonly isGuided: boolean;
}

export interface Finding {
  readonly problem: string;
  /** The file of the input; undefined where it is about all of them. */
  readonly file: string | undefined;
}

export interface Outcome {
  readonly target: string;
  readonly inputs: number;
  readonly seconds: number;
  /** Milliseconds. */
  readonly slowest: number;
  /** Bytes that are held, after the seeds and at the end. */
  readonly before: number;
  readonly after: number;
  readonly findings: readonly Finding[];
}

export async function fuzz(target: Target, options: FuzzOptions): Promise<Outcome> {
  await using stack = new AsyncDisposableStack();
  const watchdog = stack.use(new Watchdog(target.name, options.folder));
  const fuzzer = new Fuzzer(target, await target.open(stack), watchdog, options);
  const coverage = options.isGuided && target.isPure ? stack.use(await Coverage.start()) : undefined;
  return await fuzzer.run(coverage); // awaited, or what it needs would be gone before
}

class Fuzzer {
  readonly #target: Target;
  readonly #run: Run;
  readonly #watchdog: Watchdog;
  readonly #options: FuzzOptions;
  readonly #chance: Chance;
  readonly #pool: Buffer[];
  /** Of the pool, those that stay. */
  readonly #firm: number;
  #learned = 0;
  readonly #findings: Finding[] = [];
  readonly #problems: Set<string> = new Set();
  #inputs = 0;
  #failures = 0;
  #slowest = 0;

  constructor(target: Target, run: Run, watchdog: Watchdog, options: FuzzOptions) {
    this.#target = target;
    this.#run = run;
    this.#watchdog = watchdog;
    this.#options = options;
    const seed = seedOf(options.seed, target.name);
    this.#chance = new Chance(seed);
    const { structured } = target;
    const made = structured === undefined ? [] : fc.sample(structured, { seed, numRuns: STRUCTURED });
    this.#pool = [...target.seeds, ...made].map((each) => Buffer.from(each as Uint8Array));
    this.#pool.push(...corpusOf(target.name).map(({ input }) => input));
    this.#firm = this.#pool.length;
  }

  async run(coverage: Coverage | undefined): Promise<Outcome> {
    const { runs, until = Infinity } = this.#options;
    const start = performance.now();
    for (const input of this.#pool.slice()) await this.#try(input);
    if (coverage !== undefined) coverage.keep(await coverage.look());
    const before = await settledBytes();
    const memory: Sample[] = [];
    while (this.#inputs < runs && performance.now() < until && this.#failures < MAX_FAILURES) {
      const count = Math.min(BATCH, runs - this.#inputs);
      const batch = Array.from({ length: count }, () => this.#make());
      for (const input of batch) await this.#try(input);
      await nextTurn(); // or no timer would ever end, nor what waits for the collection of garbage
      if (coverage !== undefined) await this.#learn(batch, await coverage.look(), coverage);
      const isDue = this.#inputs >= ((memory.length + 1) * runs) / LOOKS;
      if (isDue && runs >= MIN_FOR_MEMORY) memory.push([this.#inputs, heldBytes()]);
    }
    const after = await settledBytes();
    this.#judgeMemory(memory);
    const { name } = this.#target;
    const seconds = (performance.now() - start) / 1000;
    const [inputs, slowest, findings] = [this.#inputs, this.#slowest, this.#findings];
    return { target: name, inputs, seconds, slowest, before, after, findings };
  }

  #make(): Buffer {
    return mutated({ pool: this.#pool, words: this.#target.words ?? [] }, this.#chance);
  }

  async #try(input: Buffer): Promise<void> {
    this.#inputs++;
    try {
      let took = await this.#timed(input);
      // The first run may have met a collection of garbage, or a busy machine.
      const retries = took > Math.max(this.#slowest, WORTH_A_LOOK) && this.#target.isPure ? RETRIES : 0;
      for (let i = 0; i < retries; i++) took = Math.min(took, await this.#timed(input));
      this.#slowest = Math.max(this.#slowest, took);
      const limit = (this.#target.limit ?? DEFAULT_LIMIT) * (this.#options.slack ?? 1);
      if (took > limit) this.#found(`took ${took.toFixed(0)} ms, more than ${limit} ms`, input);
    } catch (error) {
      this.#found(error instanceof Error ? (error.stack ?? error.message) : String(error), input);
    }
  }

  /** Chance comes from the input, so that it does the same again out of the corpus. */
  async #timed(input: Buffer): Promise<number> {
    this.#watchdog.begin(input);
    const start = performance.now();
    try {
      const running = this.#run(input, new Chance(crc32(input)));
      if (running !== undefined) await running;
      return performance.now() - start;
    } finally {
      this.#watchdog.end();
    }
  }

  /** Which of a batch reach new code: halves are run again, until one input is left. */
  async #learn(batch: readonly Buffer[], found: readonly string[], coverage: Coverage): Promise<void> {
    if (found.length === 0) return;
    const [input] = batch;
    if (batch.length === 1 && input !== undefined) {
      coverage.keep(found);
      this.#pool.push(Buffer.from(input)); // a copy: a part of a larger one would keep all of it
      this.#learned += input.length;
      while (this.#learned > MAX_LEARNED)
        this.#learned -= this.#pool.splice(this.#firm, 1)[0]?.length ?? Infinity;
      return;
    }
    const middle = batch.length >> 1;
    for (const half of [batch.slice(0, middle), batch.slice(middle)]) {
      for (const each of half) await this.#timed(each).catch(() => undefined); // it was told the first time
      await this.#learn(half, await coverage.look(), coverage);
    }
    coverage.keep(found); // what only chance or time reaches, or it would be looked for again and again
  }

  #judgeMemory(memory: readonly Sample[]): void {
    if (this.#inputs < MIN_FOR_MEMORY || memory.length < LOOKS - 2) return;
    const { verdict, slope } = trendOf(memory);
    const growth = slope * this.#inputs;
    if (verdict !== 'grows' || growth < MIN_GROWTH) return;
    this.#findings.push({
      problem: `memory grows: ${(growth / this.#inputs).toFixed(1)} bytes an input`,
      file: undefined,
    });
  }

  /** One of a kind is enough. */
  #found(problem: string, input: Buffer): void {
    this.#failures++;
    const kind = problem.slice(0, problem.indexOf('\n')).replaceAll(/\d+/g, 'N');
    if (this.#problems.has(kind)) return;
    this.#problems.add(kind);
    const file = keepInput(this.#options.folder, this.#target.name, input);
    this.#findings.push({ problem: `${problem}\nseed ${this.#options.seed}, input ${this.#inputs}`, file });
  }
}

/** Bytes that are held once what is to be finalized is: some of it takes a second collection. */
async function settledBytes(): Promise<number> {
  heldBytes();
  await nextTurn();
  return heldBytes();
}
