/**
 * Says that a registry refuses whatever this node asks. The runtimes then pull directly, with their own credentials, and
 * nothing of that registry is shared.
 */
import { LRUCache } from 'lru-cache';
import { HOUR, MINUTE, type Clock } from '../util/clock.ts';
import type { RegistryHost } from '../oci/repository.ts';
import type { RequestKind, UpstreamObserver } from '../upstream/registry-config.ts';

const WINDOW = 10 * MINUTE;
/** Parts of the window. */
const PARTS = 10;
/** Refusals within the window: a single image may well be private. */
const ENOUGH = 20;
const WARN_AGAIN = HOUR;
/** Registries that are watched: callers choose them. */
const MAX_REGISTRIES = 100;

export interface RegistryRefusalsOptions {
  readonly clock: Clock;
  readonly logger: { warn(detail: object, message: string): void };
}

interface Watched {
  /** Refusals in each part of the window, and the number of the part that each count is of. */
  readonly counts: { part: number; refusals: number }[];
  /** When something was granted (monotonic). */
  grantedAt: number;
  warnedAt: number;
}

export class RegistryRefusals {
  readonly #options: RegistryRefusalsOptions;
  readonly #registries: LRUCache<RegistryHost, Watched> = new LRUCache({ max: MAX_REGISTRIES });

  constructor(options: RegistryRefusalsOptions) {
    this.#options = options;
  }

  readonly request: UpstreamObserver['request'] = (registry, kind, status) => {
    if (typeof status === 'string') return; // it was not reached, so it decided nothing
    const now = this.#options.clock.monotonic();
    const watched = this.#watched(registry);
    if (status !== 401 && status !== 403) {
      if (isGrant(kind)) watched.grantedAt = now;
      return;
    }
    const refusals = count(watched, now);
    if (refusals < ENOUGH || now - watched.grantedAt < WINDOW || now - watched.warnedAt < WARN_AGAIN) return;
    watched.warnedAt = now;
    this.#options.logger.warn(
      { registry, refusals },
      `${registry} has refused each request of the last 10 minutes (401 or 403): what is pulled from it passes Weir by; ` +
        'give Weir a credential that it accepts: the entry of registries, or upstream.docker-config',
    );
  };

  #watched(registry: RegistryHost): Watched {
    const known = this.#registries.get(registry);
    if (known !== undefined) return known;
    const watched: Watched = { counts: [], grantedAt: -Infinity, warnedAt: -Infinity };
    this.#registries.set(registry, watched);
    return watched;
  }
}

/** A token is given to anybody who asks; what it is worth shows at the next request. */
function isGrant(kind: RequestKind): boolean {
  return kind !== 'token';
}

/** Counts one more. @returns the refusals within the window */
function count({ counts }: Watched, now: number): number {
  const part = Math.floor(now / (WINDOW / PARTS));
  const last = counts.at(-1);
  if (last?.part === part) last.refusals += 1;
  else counts.push({ part, refusals: 1 });
  while ((counts[0]?.part ?? part) <= part - PARTS) counts.shift();
  return counts.reduce((sum, each) => sum + each.refusals, 0);
}
