/** The level of the log, which can be changed while the node runs: by `PUT /v1/log-level`, by SIGUSR2, and by the configuration. */
import type { LogLevelName, LogLevelReport } from '../status/log-level.ts';
import type { Logger } from './logger.ts';

/** Levels at which `debug` is logged. */
const TALKATIVE: ReadonlySet<LogLevelName> = new Set(['trace', 'debug']);

export class LogLevel {
  readonly #logger: Pick<Logger, 'level' | 'warn'>;
  #configured: LogLevelName;
  #level: LogLevelName;

  constructor(logger: Pick<Logger, 'level' | 'warn'>, configured: LogLevelName) {
    this.#logger = logger;
    this.#configured = configured;
    this.#level = configured;
  }

  get report(): LogLevelReport {
    return { level: this.#level, configured: this.#configured };
  }

  /** @param by who changes it, for the log */
  change(level: LogLevelName, by: string): void {
    const before = this.#level;
    if (level === before) return;
    // In a log of either level: a reader must see why it becomes silent, or talkative.
    const tell = (): void => this.#logger.warn({ from: before, to: level, by }, 'log level changed');
    if (level === 'error' || level === 'silent') tell();
    this.#level = level;
    this.#logger.level = level;
    if (level !== 'error' && level !== 'silent') tell();
  }

  /** The configuration has another level now: it counts instead of what was chosen since the start. */
  configure(level: LogLevelName): void {
    this.#configured = level;
    this.change(level, 'configuration');
  }

  /** Debug on, and back to what is configured; if debug is configured: off, to info. */
  toggleDebug(by: string): void {
    const quiet = TALKATIVE.has(this.#configured) ? 'info' : this.#configured;
    this.change(TALKATIVE.has(this.#level) ? quiet : 'debug', by);
  }
}

/** Toggles debug at each SIGUSR2, until it is disposed of. */
export function toggleAtSignal(level: LogLevel, process: NodeJS.EventEmitter): Disposable {
  const toggle = (): void => level.toggleDebug('SIGUSR2');
  process.on('SIGUSR2', toggle);
  return { [Symbol.dispose]: () => void process.off('SIGUSR2', toggle) };
}
