/** A real browser, headless, with a profile of its own. It resolves only the names that it is given. */
import { SECOND } from '../../src/util/clock.ts';
import { describeResult, Program, run } from './program.ts';
import { TempDir } from './temp.ts';

const DUMP_TIMEOUT = 60 * SECOND;
/** Milliseconds of a page's own time, which stands still while it waits for an answer. */
const PAGE_TIME = 10 * SECOND;

export class Chromium implements AsyncDisposable {
  readonly #names: readonly string[];
  readonly #dir: TempDir;
  #running: Program | undefined;

  private constructor(dir: TempDir, names: readonly string[]) {
    this.#dir = dir;
    this.#names = names;
  }

  /** @param names names that lead to 127.0.0.1 */
  static async create(...names: readonly string[]): Promise<Chromium> {
    return new Chromium(await TempDir.create('chromium'), names);
  }

  /** The document at the end: the page, and the pages that it led to, are loaded and have had their time. */
  async dump(url: string): Promise<string> {
    const args = [...this.#args(), `--virtual-time-budget=${PAGE_TIME}`, '--dump-dom', url];
    const result = await run('chromium', args, { timeout: DUMP_TIMEOUT });
    if (result.code !== 0) throw new Error(describeResult('chromium', result));
    return result.stdout;
  }

  /** Shows a page until the browser is disposed. */
  async open(url: string): Promise<void> {
    this.#running = await Program.start({ command: 'chromium', args: [...this.#args(), url] });
  }

  /** An error with its last output. */
  failure(problem: string): Error {
    return this.#running?.failure(problem) ?? new Error(problem);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running?.stop();
    await this.#dir[Symbol.asyncDispose]();
  }

  #args(): readonly string[] {
    const rules = [
      ...this.#names.map((name) => `MAP ${name} 127.0.0.1`),
      'MAP * ~NOTFOUND',
      'EXCLUDE 127.0.0.1',
    ];
    return [
      ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
      ['--disable-background-networking', '--disable-component-update', '--disable-sync'],
      [`--user-data-dir=${this.#dir.path}`, `--host-resolver-rules=${rules.join(',')}`],
    ].flat();
  }
}
