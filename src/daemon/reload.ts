/**
 * Reads the configuration again, on SIGHUP and when one of its files has changed, and hands what changed to its owners.
 *
 * It is all or nothing: every owner first reads what is new (certificates, keys), and only if that has failed nowhere do they
 * take it. Otherwise one error is logged, and the node goes on with what it had. Work that runs goes on as it began.
 */
import type { LoadedConfig } from '../config/load.ts';
import type { Config, ConfigKey } from '../config/settings.ts';
import type { Clock } from '../util/clock.ts';
import { toWeirError } from '../util/errors.ts';
import { FileWatch } from './file-watch.ts';
import type { Logger } from './logger.ts';

/** Where the configuration comes from. The command line knows. */
export interface ConfigSource {
  /** As the node starts with it. */
  readonly loaded: LoadedConfig;
  /** Reads it again. @throws WeirError `config_invalid` */
  load(): Promise<LoadedConfig>;
  /** Whether owners do not take a change of this setting while they run. */
  needsRestart(key: ConfigKey, before: Config, after: Config): boolean;
  changed(before: Config, after: Config): readonly ConfigKey[];
  /** Calls back at SIGHUP, also for one that came before. */
  onHangup(listener: () => void): void;
}

/** An owner of settings. */
export interface Reloadable {
  /**
   * Reads what the configuration names, and changes nothing yet.
   * @returns makes the owner use it, and never throws; undefined if nothing is new for it
   * @throws WeirError `config_invalid`
   */
  prepare(config: Config): Promise<(() => void) | undefined> | (() => void) | undefined;
  /** Further files that it has read. */
  files?(): readonly string[];
}

export interface Reload {
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** Why nothing was changed. */
  readonly error: string | undefined;
  /** Settings whose new values wait for a restart. */
  readonly waiting: readonly ConfigKey[];
}

export interface ReloaderOptions {
  readonly source: ConfigSource;
  readonly clock: Pick<Clock, 'now'>;
  readonly logger: Logger;
}

export class Reloader implements Disposable {
  readonly #options: ReloaderOptions;
  readonly #watch: FileWatch;
  #loaded: LoadedConfig;
  /** Files of the last one that could be read, also if its files could not: one of them may be mended. */
  #named: readonly string[];
  #owners: readonly Reloadable[] | undefined;
  #last: Reload | undefined;
  #isWanted = false;
  #isRunning = false;

  /** Changes and signals count from now on, and are answered when the node has started. */
  constructor(options: ReloaderOptions) {
    this.#options = options;
    this.#loaded = options.source.loaded;
    this.#named = this.#loaded.files;
    this.#watch = new FileWatch({ onChange: () => this.request() });
    void this.#watch.watch(this.#files());
    options.source.onHangup(() => this.request());
  }

  /** Undefined before the first one. */
  get last(): Reload | undefined {
    return this.#last;
  }

  /** The node has started. */
  begin(owners: readonly Reloadable[]): void {
    this.#owners = owners;
    void this.#watch.watch(this.#files());
    if (this.#isWanted) void this.#run();
  }

  /** Reads it again soon; once more if that is under way. */
  request(): void {
    this.#isWanted = true;
    if (this.#owners !== undefined && !this.#isRunning) void this.#run();
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#isWanted) {
      this.#isWanted = false;
      await this.#reload(this.#owners ?? []);
    }
    this.#isRunning = false;
  }

  /** Never rejects. */
  async #reload(owners: readonly Reloadable[]): Promise<void> {
    const { clock, logger, source } = this.#options;
    try {
      const loaded = await source.load();
      this.#named = loaded.files;
      const takes: (() => void)[] = [];
      for (const owner of owners) {
        const take = await owner.prepare(loaded.config);
        if (take !== undefined) takes.push(take);
      }
      for (const take of takes) take();
      const before = this.#loaded.config;
      const changed = source
        .changed(before, loaded.config)
        .filter((key) => !source.needsRestart(key, before, loaded.config));
      this.#loaded = loaded;
      const first = source.loaded.config;
      const waiting = source
        .changed(first, loaded.config)
        .filter((key) => source.needsRestart(key, first, loaded.config));
      this.#last = { at: clock.now(), error: undefined, waiting };
      const isSame = takes.length === 0 && changed.length === 0;
      logger.info(
        { changed },
        isSame ? 'configuration read again: nothing to change' : 'configuration reloaded',
      );
      for (const warning of loaded.warnings) logger.warn(warning);
      if (waiting.length > 0)
        logger.warn({ settings: waiting }, 'changed settings take effect after a restart');
    } catch (thrown) {
      const error = toWeirError(thrown);
      this.#last = { at: clock.now(), error: error.message, waiting: this.#last?.waiting ?? [] };
      logger.error({ err: error }, 'configuration not reloaded: the node goes on with what it had');
    }
    await this.#watch.watch(this.#files());
  }

  #files(): readonly string[] {
    const own = (this.#owners ?? []).flatMap((owner) => owner.files?.() ?? []);
    return [...new Set([...this.#loaded.files, ...this.#named, ...own])];
  }

  [Symbol.dispose](): void {
    this.#watch[Symbol.dispose]();
    this.#owners = undefined;
  }
}
