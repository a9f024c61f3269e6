/** What several checks need, asked once and side by side: the node, the bootstrap names, the registries. */
import { parseBootstrap, resolveBootstrap, systemLookup, type Lookup } from '../../network/addresses.ts';
import type { LoadedConfig } from '../../config/load.ts';
import type { RegistryHost } from '../../oci/repository.ts';
import { AdminClient } from '../../status/admin-client.ts';
import type { PeersReport, StatusReport } from '../../status/status-report.ts';
import { readCertsFolders } from '../../upstream/certs-folders.ts';
import { probeRegistry, type EndpointProbe } from '../../upstream/registry-probe.ts';
import { SECOND, systemClock } from '../../util/clock.ts';
import { errorMessage } from '../../util/errors.ts';
import { surveyHost, type HostSurvey } from '../runtimes/survey.ts';
import { mirrorUrlOf, type HostPlace } from './check.ts';

/** Milliseconds, below the bound of a check: it can then say what did not answer. */
const ASK_TIMEOUT = 4.5 * SECOND;

export interface BootstrapName {
  /** As it is configured. */
  readonly text: string;
  /** Multiaddrs; none if it does not resolve. */
  readonly addresses: readonly string[];
  readonly error?: unknown;
}

export interface NodeFacts {
  readonly ready: boolean;
  readonly status: StatusReport;
  readonly peers: PeersReport;
  /** Prometheus' text format. */
  readonly metrics: string;
}

export interface FactsOptions {
  readonly loaded: LoadedConfig;
  /** Of the node; the error says why there is none. */
  readonly admin: URL | Error;
  readonly host: HostPlace;
  readonly userAgent: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  readonly lookup?: Lookup | undefined;
}

export class Facts {
  readonly #options: FactsOptions;
  readonly #signal: AbortSignal;
  readonly #probes = new Map<RegistryHost, Promise<readonly EndpointProbe[]>>();
  #node: Promise<NodeFacts> | undefined;
  #bootstrap: Promise<readonly BootstrapName[]> | undefined;
  #survey: Promise<HostSurvey> | undefined;

  constructor(options: FactsOptions) {
    this.#options = options;
    this.#signal = AbortSignal.any([options.signal, AbortSignal.timeout(ASK_TIMEOUT)]);
  }

  /** @throws WeirError as {@link AdminClient.status}, and the error for a node without an address */
  node(): Promise<NodeFacts> {
    return (this.#node ??= this.#askNode());
  }

  /** Undefined if the node does not answer. */
  async nodeIfAny(): Promise<NodeFacts | undefined> {
    return this.node().catch(() => undefined);
  }

  bootstrap(): Promise<readonly BootstrapName[]> {
    return (this.#bootstrap ??= this.#resolve());
  }

  /** @throws WeirError as {@link probeRegistry} */
  registry(host: RegistryHost): Promise<readonly EndpointProbe[]> {
    const known = this.#probes.get(host) ?? this.#probe(host);
    this.#probes.set(host, known);
    return known;
  }

  /** @throws WeirError `runtime_config` */
  survey(): Promise<HostSurvey> {
    return (this.#survey ??= surveyHost({
      ...this.#options.host,
      mirrorUrl: mirrorUrlOf(this.#options.loaded.config),
    }));
  }

  async #askNode(): Promise<NodeFacts> {
    const { admin } = this.#options;
    if (admin instanceof Error) throw admin;
    const options = { signal: this.#signal };
    await using client = new AdminClient(admin);
    const [ready, status, peers, metrics] = await Promise.all([
      client.ready(options),
      client.status(options),
      client.peers(options),
      client.metrics(options),
    ]);
    return { ready, status, peers, metrics };
  }

  async #resolve(): Promise<readonly BootstrapName[]> {
    const { loaded, lookup = systemLookup } = this.#options;
    return await Promise.all(
      loaded.config['cluster.bootstrap'].map(async (text) => {
        try {
          return { text, addresses: await resolveBootstrap(parseBootstrap(text), lookup) };
        } catch (error) {
          return { text, addresses: [], error };
        }
      }),
    );
  }

  async #probe(host: RegistryHost): Promise<readonly EndpointProbe[]> {
    const { loaded, userAgent, env } = this.#options;
    const { config } = loaded;
    const options = {
      registries: config.registries,
      certificates: readCertsFolders(config['upstream.certs-folders']).certificates,
      caFile: config['upstream.ca-file'],
      dockerConfig: config['upstream.docker-config'],
      allowPrivate: config['upstream.allow-private'] === 'yes',
      connectTimeout: config['upstream.connect-timeout'],
      headerTimeout: config['upstream.header-timeout'],
      userAgent,
      environment: env,
      clock: systemClock,
    };
    return await probeRegistry(host, options, this.#signal);
  }
}

/** The value of a metric without labels, or the sum over its labels; undefined if there is none. */
export function metricOf({ metrics }: NodeFacts, name: string): number | undefined {
  const lines = metrics
    .split('\n')
    .filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
  if (lines.length === 0) return undefined;
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

/** The innermost cause says most: `getaddrinfo ENOTFOUND weir.example`. */
export function rootCause(error: unknown): string {
  let cause = error;
  while (cause instanceof Error && cause.cause !== undefined) cause = cause.cause;
  return errorMessage(cause);
}
