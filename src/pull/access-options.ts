/** What decides who may have what (access.ts) is made with. */
import type { Clock } from '../util/clock.ts';
import type { Catalog } from '../store/catalog.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { Imports } from './imports.ts';

export type AccessMode = 'verify' | 'open';

export interface AccessRules {
  readonly mode: AccessMode;
  /** Milliseconds for which upstream's answer holds. */
  readonly ttl: number;
  /** Milliseconds for which it holds while upstream cannot be reached. */
  readonly offlineTtl: number;
}

export interface AccessOptions extends AccessRules {
  readonly catalog: Catalog;
  readonly upstream: Pick<Upstream, 'headBlob' | 'headManifest' | 'speaksFor'>;
  readonly clock: Clock;
  /** Undefined if imports are not trusted. */
  readonly imports?: Imports | undefined;
}
