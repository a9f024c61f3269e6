/**
 * What the node says by itself of faults that cost nobody a pull (docs/operations.md, "What Weir says by itself"). Here the
 * parts are wired to the events; each part decides what to say, and when. alone-watch.ts is part of the cluster.
 */
import { repeat } from '../util/async.ts';
import { MINUTE, type Clock } from '../util/clock.ts';
import type { WeirError } from '../util/errors.ts';
import type { Config } from '../config/settings.ts';
import type { RequestReport } from '../mirror/mirror.ts';
import type { Digest } from '../oci/digest.ts';
import type { UpstreamObserver } from '../upstream/registry-config.ts';
import type { ConditionMetrics } from './condition-metrics.ts';
import { watchDrift } from './drift-watch.ts';
import { entriesForImages, IdleSettings, type ContentFolder } from './idle-settings.ts';
import type { Logger } from './logger.ts';
import { RegistryRefusals } from './registry-refusals.ts';
import { UnstoredBlobs } from './unstored-blobs.ts';

/** Milliseconds between two looks at what no event tells. */
const LOOK = MINUTE;

export interface ConditionsOptions {
  readonly config: Config;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: ConditionMetrics;
  /** The content folders that are served from. */
  readonly folders: () => readonly ContentFolder[];
}

export class Conditions implements Disposable {
  readonly unstored: UnstoredBlobs;
  readonly #refusals: RegistryRefusals;
  readonly #idle: IdleSettings;
  readonly #drift: Disposable;
  readonly #stop: AbortController = new AbortController();

  constructor({ config, clock, logger, metrics, folders }: ConditionsOptions) {
    this.unstored = new UnstoredBlobs({ clock, logger, onUnstored: (cause) => metrics.unstored(cause) });
    this.#refusals = new RegistryRefusals({ clock, logger });
    const isNamed = Array.isArray(config['store.runtime-content']);
    this.#idle = new IdleSettings({
      clock,
      logger,
      folders: isNamed ? folders : () => [],
      entries: entriesForImages(config.registries),
    });
    this.#drift = watchDrift({
      clock,
      logger,
      root: '/', // where the node sees the machine; a pod sees what is mounted at its own place
      onCompared: (comparison) => metrics.hostFiles(comparison),
    });
    void repeat(clock, this.#stop.signal, {
      interval: () => LOOK,
      work: () => this.#idle.look(),
      onError: (error) => logger.debug({ err: error }, 'conditions'),
    });
  }

  /** `observer`, and this. */
  observing(observer: UpstreamObserver): UpstreamObserver {
    return {
      ...observer,
      request: (registry, kind, status, seconds) => {
        observer.request(registry, kind, status, seconds);
        this.#refusals.request(registry, kind, status, seconds);
        this.#idle.asked(registry);
      },
    };
  }

  /** A request to the mirror has ended. */
  ended({ route }: RequestReport): void {
    if (route !== undefined && route.kind !== 'ping') this.#idle.asked(route.repository.registry);
  }

  /** A blob was pulled, or not. */
  pulled(digest: Digest, failure: WeirError | undefined): void {
    this.unstored.pulled(digest, failure);
    if (failure === undefined) this.#idle.pulled();
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
    this.#drift[Symbol.dispose]();
  }
}
