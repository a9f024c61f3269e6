/** The limits on rates of the configuration. */
import type { PeerRates } from '../bytes/peer-limits.ts';
import type { UpstreamClient } from '../bytes/upstream-client.ts';
import type { MemberTable } from '../cluster/member-table.ts';
import type { Config } from '../config/settings.ts';
import type { Reloadable } from './reload.ts';

export function peerRates(config: Config): PeerRates {
  return {
    maxDownload: rate(config['transfer.max-download']),
    maxUpload: rate(config['transfer.max-upload']),
    maxCrossZone: rate(config['transfer.max-cross-zone']),
  };
}

/**
 * This node's limit of bytes per second from registries; undefined: none.
 * @param members live ones, this node among them
 */
export function upstreamRate(config: Config, members: number): number | undefined {
  const own = rate(config['upstream.max-download']) ?? Infinity;
  const all = rate(config['upstream.max-cluster-download']) ?? Infinity;
  const least = Math.min(own, all / Math.max(1, members));
  return least === Infinity ? undefined : least;
}

const LIMITS = ['upstream.max-download', 'upstream.max-cluster-download'] as const;

/** Keeps the limit of bytes from registries while members come and go. */
export class UpstreamLimit implements Reloadable, Disposable {
  readonly #client: Pick<UpstreamClient, 'limit'>;
  readonly #table: Pick<MemberTable, 'live' | 'onChange'> | undefined;
  readonly #forget: (() => void) | undefined;
  #config: Config;

  constructor(
    config: Config,
    client: Pick<UpstreamClient, 'limit'>,
    table: Pick<MemberTable, 'live' | 'onChange'> | undefined,
  ) {
    this.#config = config;
    this.#client = client;
    this.#table = table;
    this.#forget = table?.onChange(() => this.#set());
    this.#set();
  }

  prepare(config: Config): (() => void) | undefined {
    const isSame = LIMITS.every((key) => config[key] === this.#config[key]);
    if (isSame) return undefined;
    return () => {
      this.#config = config;
      this.#set();
    };
  }

  #set(): void {
    this.#client.limit(upstreamRate(this.#config, this.#table?.live().length ?? 1));
  }

  [Symbol.dispose](): void {
    this.#forget?.();
  }
}

function rate(setting: number | 'none'): number | undefined {
  return setting === 'none' ? undefined : setting;
}
