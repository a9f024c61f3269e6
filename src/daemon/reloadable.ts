/** The owners of settings that change while the node runs (reload.ts): what of the configuration each one takes. */
import { isDeepStrictEqual } from 'node:util';
import type { Config } from '../config/settings.ts';
import { clusterTag } from '../network/cluster-keys.ts';
import { parsePeerId } from '../protocol/peer-id.ts';
import type { AccessRules } from '../pull/access-options.ts';
import type { Access } from '../pull/access.ts';
import type { Manifests } from '../pull/manifests.ts';
import { certificateFiles, readCertsFolders, type FoundCertificates } from '../upstream/certs-folders.ts';
import type { Upstream } from '../upstream/upstream.ts';
import type { UpstreamSettings } from '../upstream/upstream-options.ts';
import { WeirError } from '../util/errors.ts';
import { readClusterKeys } from './cluster-settings.ts';
import type { Cluster } from './cluster.ts';
import { peerRates } from './limits.ts';
import type { LogLevel } from './log-level.ts';
import type { Logger } from './logger.ts';
import type { Reloadable } from './reload.ts';

export function accessRules(config: Config): AccessRules {
  return {
    mode: config['access.mode'],
    ttl: config['access.ttl'],
    offlineTtl: config['access.offline-ttl'],
  };
}

/** @param found in `upstream.certs-folders` */
export function upstreamSettings(config: Config, found: FoundCertificates): UpstreamSettings {
  return {
    registries: config.registries,
    certificates: found.certificates,
    caFile: config['upstream.ca-file'],
    dockerConfig: config['upstream.docker-config'],
    connectTimeout: config['upstream.connect-timeout'],
    headerTimeout: config['upstream.header-timeout'],
    stallTimeout: config['upstream.stall-timeout'],
    retries: config['upstream.retries'],
    maxConnections: config['upstream.max-connections'],
    allowPrivate: config['upstream.allow-private'] === 'yes',
  };
}

export interface ReloadableParts {
  /** That the parts were made from. */
  readonly config: Config;
  readonly logger: Logger;
  readonly logLevel: Pick<LogLevel, 'configure'>;
  readonly access: Access;
  readonly upstream: Upstream;
  readonly manifests: Pick<Manifests, 'forgetRefusals'>;
  /** As `upstream` was made with. */
  readonly found: FoundCertificates;
  readonly cluster: Cluster | undefined;
}

export function reloadableParts(parts: ReloadableParts): readonly Reloadable[] {
  const { config: now, logger, logLevel, access, cluster } = parts;
  return [
    new UpstreamOwner(parts),
    taking(
      now,
      (config) => config['log.level'],
      (level) => logLevel.configure(level),
    ),
    taking(now, accessRules, (rules) => access.reconfigure(rules)),
    ...(cluster === undefined ? [] : [...clusterParts(now, cluster), new KeysOwner(cluster, logger)]),
  ];
}

function clusterParts(now: Config, { table, wire }: Cluster): readonly Reloadable[] {
  const ban = (peers: readonly string[]): void => table.banForever(peers.map(parsePeerId));
  return [
    taking(now, (config) => config['cluster.banned'], ban),
    taking(now, peerRates, (rates) => wire.limit(rates)),
  ];
}

/** An owner of values that are in the configuration itself. @param now with these it was made */
function taking<T>(now: Config, read: (config: Config) => T, take: (value: T) => void): Reloadable {
  let known = JSON.stringify(read(now));
  return {
    prepare: (config) => {
      const value = read(config);
      const text = JSON.stringify(value);
      if (text === known) return undefined;
      return () => {
        known = text;
        take(value);
      };
    },
  };
}

/** A cluster with a key takes others. One without a key gets its first one at a restart, and the other way round. */
class KeysOwner implements Reloadable {
  readonly #cluster: Pick<Cluster, 'network'>;
  readonly #logger: Logger;
  #keys: readonly Uint8Array[];

  constructor(cluster: Pick<Cluster, 'network' | 'keys'>, logger: Logger) {
    this.#cluster = cluster;
    this.#logger = logger;
    this.#keys = cluster.keys;
  }

  async prepare(config: Config): Promise<(() => void) | undefined> {
    const keys = await readClusterKeys(config['cluster.key-file']);
    if (keys.length === 0 || this.#keys.length === 0 || isDeepStrictEqual(keys, this.#keys)) return undefined;
    return () => {
      this.#keys = keys;
      this.#cluster.network.useKeys(keys);
      this.#logger.info({ keys: keys.map(clusterTag) }, 'cluster keys changed');
    };
  }
}

class UpstreamOwner implements Reloadable {
  readonly #parts: Pick<ReloadableParts, 'upstream' | 'manifests'>;
  #found: FoundCertificates;

  constructor(parts: Pick<ReloadableParts, 'upstream' | 'manifests' | 'found'>) {
    this.#parts = parts;
    this.#found = parts.found;
  }

  /** @throws WeirError `config_invalid` also for a file of a runtime's folder that could be used before */
  prepare(config: Config): (() => void) | undefined {
    const found = readCertsFolders(config['upstream.certs-folders']);
    const problem = found.problems.find((each) => !this.#found.problems.includes(each));
    if (problem !== undefined) throw new WeirError('config_invalid', problem);
    const { upstream, manifests } = this.#parts;
    const take = upstream.prepare(upstreamSettings(config, found));
    this.#found = found;
    if (take === undefined) return undefined;
    return () => {
      take();
      manifests.forgetRefusals();
    };
  }

  files(): readonly string[] {
    const { folders, certificates } = this.#found;
    return [...folders, ...certificateFiles(certificates.values())];
  }
}
