/**
 * Runs one target: first its seeds and its corpus unchanged, then random mutations of them. The target must accept
 * each input or refuse it as it declares, in time. Memory must not grow over all inputs.
 *
 * jazzer.js does the same, guided by libFuzzer. Its binaries need glibc 2.38, which Debian 12 does not have.
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

/** Inputs between two looks at coverage. */
const BATCH = 64;
/** Bytes of kept inputs that reached new code; above this the oldest goes, or memory would grow with the run. */
const MAX_LEARNED = 4 * 1024 * 1024;
/** Valid inputs made from the description of a target. */
const STRUCTURED = 100;
/** Samples of memory over a run: trendOf needs twenty in its second half. */
const LOOKS = 48;
/** With fewer inputs memory is not judged: caches fill, and code is compiled. */
const MIN_FOR_MEMORY = 20_000;
/** Growth in bytes over a run that is not reported: bounded caches fill slowly. */
const MIN_GROWTH = 4 * 1024 * 1024;
/** A target stops after so many failed inputs, of one kind or several. */
const MAX_FAILURES = 8;
/** Further runs of an input that took longer than all before, and longer than so many milliseconds. */
const RETRIES = 2;
const WORTH_A_LOOK = 5;

export interface FuzzOptions {
  readonly seed: number;
  /** Inputs. */
  readonly runs: number;
  /** End time by {@link performance.now}; undefined runs until all inputs are done. */
  readonly until?: number | undefined;
  /** Folder for failed inputs. */
  readonly folder: string;
  /** Multiplies the time limits, for busy machines; default 1. */
  readonly timeFactor?: number | undefined;
  /** Whether coverage guides the mutations: it finds more, and takes time. */
  readonly isGuided: boolean;
}

export interface Finding {
  readonly problem: string;
  /** The file of the input; undefined if the finding concerns all inputs. */
  readonly file: string | undefined;
}

export interface Outcome {
  readonly target: string;
  readonly inputs: number;
  readonly seconds: number;
  /** Milliseconds. */
  readonly slowest: number;
  /** Bytes held, after the seeds and at the end. */
  readonly before: number;
  readonly after: number;
  readonly findings: readonly Finding[];
}

export async function fuzz(target: Target, options: FuzzOptions): Promise<Outcome> {
  await using stack = new AsyncDisposableStack();
  const watchdog = stack.use(new Watchdog(target.name, options.folder));
  const fuzzer = new Fuzzer(target, await target.open(stack), watchdog, options);
  const coverage = options.isGuided && target.isPure ? stack.use(await Coverage.start()) : undefined;
  return await fuzzer.run(coverage); // awaited, or the stack would be disposed of too early
}

class Fuzzer {
  readonly #target: Target;
  readonly #run: Run;
  readonly #watchdog: Watchdog;
  readonly #options: FuzzOptions;
  readonly #chance: Chance;
  readonly #pool: Buffer[];
  /** The first inputs of the pool, which stay. */
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
      await nextTurn(); // lets timers fire, and finalizers run
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
      // The first run may include a garbage collection, or the machine was busy.
      const retries = took > Math.max(this.#slowest, WORTH_A_LOOK) && this.#target.isPure ? RETRIES : 0;
      for (let i = 0; i < retries; i++) took = Math.min(took, await this.#timed(input));
      this.#slowest = Math.max(this.#slowest, took);
      const limit = (this.#target.limit ?? DEFAULT_LIMIT) * (this.#options.timeFactor ?? 1);
      if (took > limit) this.#found(`took ${took.toFixed(0)} ms, more than ${limit} ms`, input);
    } catch (error) {
      this.#found(error instanceof Error ? (error.stack ?? error.message) : String(error), input);
    }
  }

  /** The random choices come from the input, so that a replay from the corpus does the same. */
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

  /** Finds the inputs of a batch that reach new code: halves are run again, until one input is left. */
  async #learn(batch: readonly Buffer[], found: readonly string[], coverage: Coverage): Promise<void> {
    if (found.length === 0) return;
    const [input] = batch;
    if (batch.length === 1 && input !== undefined) {
      coverage.keep(found);
      this.#pool.push(Buffer.from(input)); // a copy: a view would keep the whole buffer
      this.#learned += input.length;
      while (this.#learned > MAX_LEARNED)
        this.#learned -= this.#pool.splice(this.#firm, 1)[0]?.length ?? Infinity;
      return;
    }
    const middle = batch.length >> 1;
    for (const half of [batch.slice(0, middle), batch.slice(middle)]) {
      for (const each of half) await this.#timed(each).catch(() => undefined); // reported the first time
      await this.#learn(half, await coverage.look(), coverage);
    }
    coverage.keep(found); // code reached only by chance or time would be searched for again and again
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

  /** Reports one failure of a kind. */
  #found(problem: string, input: Buffer): void {
    this.#failures++;
    const kind = problem.slice(0, problem.indexOf('\n')).replaceAll(/\d+/g, 'N');
    if (this.#problems.has(kind)) return;
    this.#problems.add(kind);
    const file = keepInput(this.#options.folder, this.#target.name, input);
    this.#findings.push({ problem: `${problem}\nseed ${this.#options.seed}, input ${this.#inputs}`, file });
  }
}

/** Bytes held after finalizers have run: some objects take a second collection. */
async function settledBytes(): Promise<number> {
  heldBytes();
  await nextTurn();
  return heldBytes();
}
