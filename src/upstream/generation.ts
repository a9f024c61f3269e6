/**
 * What the settings of the registry client make: registries, certificates, credentials, time limits. A change of a setting
 * makes a new generation. Calls that run go on with the one that they began with, so a resumed blob keeps its endpoint, its
 * certificate and its credential.
 */
import { systemClock, type Clock } from '../util/clock.ts';
import type { RegistryHost } from '../oci/repository.ts';
import { SlowRegistries, type AttemptsContext } from './attempts.ts';
import type { BlobTransport } from './blob-transport.ts';
import { Breaker } from './breaker.ts';
import { withCertificates } from './certs-folders.ts';
import { DockerConfig } from './docker-config.ts';
import { endpointsOf } from './endpoint.ts';
import { Pools, shareConnections } from './pools.ts';
import { Reaches } from './reach.ts';
import { RegistryCall } from './registry-call.ts';
import type { RegistryConfig } from './registry-config.ts';
import { PoolTransport } from './transport.ts';
import { readTrusted, TrustStore, type TrustedFiles } from './trust.ts';
import { LIMITS, type UpstreamOptions, type UpstreamSettings } from './upstream-options.ts';

/** What has been read of the settings. */
export interface ReadSettings {
  readonly settings: UpstreamSettings;
  /** With the certificates of the runtimes' folders. */
  readonly registries: ReadonlyMap<RegistryHost, RegistryConfig>;
  readonly reaches: Reaches;
  readonly trusted: TrustedFiles;
  /** Equal for settings that come to the same. Holds secrets. */
  readonly key: string;
}

export interface Generation {
  readonly number: number;
  readonly read: ReadSettings;
  readonly pools: Pools;
  readonly control: PoolTransport;
  readonly blobs: Pick<BlobTransport, 'via'>;
  readonly registryCall: RegistryCall;
  readonly context: AttemptsContext;
  readonly retries: number;
  readonly dockerConfig: DockerConfig | undefined;
}

/**
 * Reads the files that the settings name.
 * @throws WeirError `config_invalid` if a CA file cannot be used, `name_invalid` if a registry's name is no host
 */
export function readSettings(settings: UpstreamSettings): ReadSettings {
  const { registries: named = new Map(), certificates, caFile, allowPrivate } = settings;
  const registries = withCertificates(named, certificates);
  const profiles = [...registries.keys()]
    .flatMap((host) => endpointsOf(host, registries))
    .map(({ tls }) => tls);
  const trusted = readTrusted(caFile, profiles);
  const { extra, files, clients } = trusted;
  const { certificates: _, registries: __, ...plain } = settings;
  return {
    settings,
    registries,
    reaches: new Reaches(named, allowPrivate ?? LIMITS.allowPrivate),
    trusted,
    key: JSON.stringify([plain, [...named], [...registries], extra, [...files], [...clients]]),
  };
}

/** Makes generations, and keeps what is learned of registries across them. */
export class Generations {
  readonly #options: UpstreamOptions;
  readonly #clock: Clock;
  readonly #breaker: Breaker;
  readonly #slow: SlowRegistries;
  #number = 0;
  #dockerConfig: { readonly path: string; readonly config: DockerConfig } | undefined;

  constructor(options: UpstreamOptions) {
    const { clock = systemClock } = options;
    this.#options = options;
    this.#clock = clock;
    this.#breaker = new Breaker(clock);
    this.#slow = new SlowRegistries(clock);
  }

  /** Byte workers are told, too. */
  next(read: ReadSettings): Generation {
    const { userAgent, via, observer, lookup, blobs, warn = () => undefined } = this.#options;
    const { settings, registries, trusted, reaches } = read;
    const number = this.#number++;
    const connections = shareConnections(settings.maxConnections ?? LIMITS.maxConnections);
    const headerTimeout = settings.headerTimeout ?? LIMITS.headerTimeout;
    const common = {
      connectTimeout: settings.connectTimeout ?? LIMITS.connectTimeout,
      headerTimeout,
      stallTimeout: settings.stallTimeout ?? LIMITS.stallTimeout,
      environment: this.#options.environment ?? process.env,
    };
    const pools = new Pools({ ...common, connections, trust: new TrustStore(trusted), lookup });
    const control = new PoolTransport(pools, 'control');
    blobs.configure({ ...common, generation: number, connections: connections.blob, trusted });
    const dockerConfig = this.#dockerConfigAt(settings.dockerConfig, warn);
    const registryCall = new RegistryCall({
      control,
      reaches,
      registries,
      dockerConfig,
      warn,
      clock: this.#clock,
      observer,
      headers: {
        'user-agent': userAgent,
        'accept-encoding': 'identity',
        ...(via !== undefined && { 'weir-via': via }),
      },
    });
    return {
      number,
      read,
      pools,
      control,
      blobs: ofGeneration(blobs, number),
      registryCall,
      context: {
        registries,
        breaker: this.#breaker,
        slow: this.#slow,
        clock: this.#clock,
        observer,
        headerTimeout,
      },
      retries: settings.retries ?? LIMITS.retries,
      dockerConfig,
    };
  }

  /** The same one as long as the path is: it reads its file again by itself, and keeps what helpers said. */
  #dockerConfigAt(path: string | undefined, warn: (message: string) => void): DockerConfig | undefined {
    if (!path) this.#dockerConfig = undefined;
    else if (this.#dockerConfig?.path !== path) {
      this.#dockerConfig = { path, config: new DockerConfig(path, this.#clock, warn) };
    }
    return this.#dockerConfig?.config;
  }
}

function ofGeneration(blobs: BlobTransport, generation: number): Pick<BlobTransport, 'via'> {
  return {
    via: (worker) => {
      const transport = blobs.via(worker);
      return { send: (request) => transport.send({ ...request, generation }) };
    },
  };
}
