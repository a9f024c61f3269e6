/**
 * All settings, written once. The typed {@link Config}, the flags of `weir node`, the environment variables, the keys of
 * the YAML file, `--help` and the table in docs/configuration.md are made from this record.
 *
 * A setting `a.b-c` is the flag `--a-b-c`, the variable `WEIR_A_B_C`, and `a: {b-c: …}` in YAML.
 */
import type { RegistryHost } from '../oci/repository.ts';
import type { RegistryConfig } from '../upstream/registry-config.ts';
import { KIB, MIB } from '../util/clock.ts';
import {
  autoNoneOrPaths,
  autoOrInteger,
  autoOrSize,
  choice,
  duration,
  integer,
  label,
  listenAddresses,
  noneOrRate,
  optionalFile,
  path,
  percentage,
  registryHost,
  texts,
  type Kind,
} from './kinds.ts';
import { readHostName, readAnnounced, readBootstrap, readPeer } from './cluster-addresses.ts';

export interface Setting<T> extends Kind<T> {
  /** As an operator would write it; the same schema reads it. */
  readonly default: string;
  /** A sentence without its full stop. */
  readonly description: string;
  /** A flag that differs from the key: flags that are typed often are short. */
  readonly flag?: string;
}

function setting<T>(kind: Kind<T>, value: string, description: string, flag?: string): Setting<T> {
  return { ...kind, default: value, description, ...(flag !== undefined && { flag }) };
}

const HOST_NAMES: Kind<readonly string[]> = texts({
  allowed: 'names or IP addresses without a port, such as weir.example or 10.0.0.7',
  placeholder: 'NAME,…',
  read: readHostName,
});

/** Bytes. Below it one ordinary layer would evict all others. */
const MIN_QUOTA = MIB;

/** Bytes per second. Below it one chunk takes longer than a pull waits. */
const MIN_RATE = 256 * KIB;
const RATE: Kind<number | 'none'> = noneOrRate({ min: MIN_RATE });

export const SETTINGS = {
  'data.dir': setting(path('DIR'), '/var/lib/weir', 'Folder of the store; one node uses it at a time'),

  'mirror.listen': setting(
    listenAddresses(),
    '127.0.0.1:4770,[::1]:4770',
    'Addresses at which runtimes reach the mirror',
  ),
  'mirror.hosts': setting(
    HOST_NAMES,
    '',
    'Further names of the mirror. A request is answered 403 if its Host is none of them, no address of mirror.listen and not localhost',
  ),
  'mirror.default-registry': setting(
    registryHost(),
    'docker.io',
    'Registry of requests without ?ns= and without a host as first path element',
  ),
  'mirror.max-requests': setting(
    integer({ min: 1, max: 65_536 }),
    '512',
    'Requests served at one time; further ones are answered 503, so that the runtime goes to the registry',
  ),
  'mirror.first-byte-timeout': setting(
    duration(),
    '3s',
    'Longest wait before the first byte; then 404, so that the runtime goes to the registry. A blob that peers pull too may take longer',
  ),
  'mirror.patient-timeout': setting(
    duration(),
    '30s',
    'The same for podman, skopeo and CRI-O, which cannot go to the registry for a single blob',
  ),
  'mirror.stall-timeout': setting(
    duration(),
    '10s',
    'Longest time without progress in mid-blob; then the response is cut, so that the runtime goes on at the registry',
  ),
  'mirror.client-timeout': setting(
    duration(),
    '5m',
    'Longest time in which a client takes no byte before it is disconnected',
  ),
  'mirror.drain-timeout': setting(
    duration({ min: 0 }),
    '25s',
    'Time for running requests to end after SIGTERM; keep it below the grace period of the pod',
  ),
  'mirror.hang-timeout': setting(
    duration({ min: 0 }),
    '5s',
    'Time without a sign of life after which the node is killed, so that runtimes pull directly; 0s: never',
  ),

  'admin.listen': setting(
    listenAddresses(),
    '127.0.0.1:4771',
    'Addresses of /healthz, /readyz and /metrics; on loopback also of the reports for `weir status` and `weir peers`',
  ),
  'admin.hosts': setting(
    HOST_NAMES,
    '',
    'Further names of the admin address, as in mirror.hosts; for scrapers and probes that use a name',
  ),

  'admin.token-file': setting(
    optionalFile(),
    '',
    'File with the token that changes of the store need (`weir store rm`, `pin`, `unpin`, `gc`); none: the node refuses them',
  ),

  'node.name': setting(
    label({ max: 253 }),
    '',
    "Name of this node in `weir status` and in the logs of other members; empty: the machine's host name",
  ),
  'node.zone': setting(
    label({ max: 63 }),
    '',
    'Topology zone; peers of the same zone are preferred',
    '--zone',
  ),
  'node.zone-file': setting(
    optionalFile(),
    '',
    'File with the zone, read if node.zone is empty; if it is missing or empty, the node is in no zone',
  ),
  'node.workers': setting(
    autoOrInteger({ min: 1, max: 64 }),
    'auto',
    'Threads that move content. auto: one less than the cores that the node may use, 1 to 4. More raise the rate of a link above some Gbit/s, and take some 30 MiB each',
    '--workers',
  ),

  'cluster.mode': setting(choice(['on', 'off']), 'on', 'off: no peers; the node is a mirror with a cache'),
  'cluster.key-file': setting(
    optionalFile(),
    '',
    'File with the key that all members share, or with two, one a line, while it is changed; without a key the node looks for peers on this machine only',
  ),
  'cluster.insecure-open': setting(
    choice(['yes', 'no']),
    'no',
    'yes: share with other machines without a key. Anybody who reaches the ports can read what is cached',
    '--insecure-open-cluster',
  ),
  'cluster.listen': setting(
    listenAddresses(),
    '0.0.0.0:4772,[::]:4772',
    'Addresses at which peers reach this node for control; without a key on loopback instead',
  ),
  'cluster.announce': setting(
    texts({
      allowed: 'IP addresses, with a port if it differs, such as 10.0.0.7 or [fd00::7]:4772',
      placeholder: 'ADDRESS,…',
      read: readAnnounced,
    }),
    '',
    'Addresses to tell peers, such as the IP of the pod; empty: those of the network interfaces of this machine, whenever they change',
  ),
  'cluster.bootstrap': setting(
    texts({
      allowed: 'host:port (all addresses of a DNS name), or multiaddrs such as /ip4/10.0.0.7/tcp/4772',
      placeholder: 'ADDRESS,…',
      read: readBootstrap,
    }),
    '',
    'Addresses of the first peers',
  ),
  'cluster.mdns': setting(
    choice(['auto', 'on', 'off']),
    'auto',
    'on: look for peers on the local network by multicast DNS; auto: only with a key and without cluster.bootstrap',
  ),
  'cluster.alone-after': setting(
    duration(),
    '30s',
    'Time without another member after which the log, the status and a metric say why cluster.bootstrap leads to nobody',
  ),
  'cluster.banned': setting(
    texts({ allowed: 'peer IDs (12D3KooW…)', placeholder: 'PEER,…', read: readPeer }),
    '',
    'Members that this node refuses although they have the key',
  ),

  'transfer.listen': setting(
    listenAddresses(),
    '0.0.0.0:4773,[::]:4773',
    'Addresses at which peers fetch chunks; without a key on loopback instead',
  ),
  'transfer.tls': setting(
    choice(['on', 'off']),
    'on',
    'off: chunks travel in the clear, and members are known by their address. Only for a network that encrypts by itself',
  ),
  'transfer.max-upload': setting(RATE, 'none', 'Limit of bytes per second to peers', '--max-upload'),
  'transfer.max-download': setting(RATE, 'none', 'Limit of bytes per second from peers', '--max-download'),
  'transfer.max-cross-zone': setting(
    RATE,
    'none',
    'Limit of bytes per second to peers of other zones, and the same from them',
  ),

  'access.mode': setting(
    choice(['verify', 'open']),
    'verify',
    'verify: give cached content only to callers that the registry lets read the repository; open: to all',
  ),
  'access.ttl': setting(
    duration({ min: 0 }),
    '10m',
    'Time for which a grant of the registry is remembered before it is asked again',
  ),
  'access.offline-ttl': setting(
    duration({ min: 0 }),
    '24h',
    'Time for which a grant holds while the registry cannot be reached',
  ),
  'access.trust-imported': setting(
    choice(['yes', 'no']),
    'no',
    'yes: take images by `weir import`, and answer everybody in the cluster for them and their tags, without asking a registry',
  ),

  'tags.share': setting(
    choice(['on', 'off']),
    'on',
    'on: two members ask the registry for a tag and tell the others; off: each node asks for itself',
  ),
  'tags.ttl': setting(
    duration({ min: 0 }),
    '5s',
    'Time for which the answer for a tag is used again before the registry is asked; 0s: ask every time',
  ),

  'store.quota': setting(
    autoOrSize({ min: MIN_QUOTA }),
    'auto',
    'Limit of bytes in the store; the least recently used blobs go first, and a larger blob takes free disk while it is pulled. auto: a tenth of the disk, at most 20GiB',
  ),
  'store.shrink-below': setting(
    percentage({ max: 90 }),
    '20%',
    'Free share of the disk below which the store shrinks, whatever its quota; 0%: never',
  ),
  'store.stop-below': setting(
    percentage({ max: 90 }),
    '15%',
    'Free share of the disk below which nothing new is stored: blobs pass through; 0%: never',
  ),
  'store.runtime-content': setting(
    autoNoneOrPaths(),
    'auto',
    "Content folders of the node's containerd, served read-only instead of a copy; auto: the default folders of containerd and dockerd",
  ),
  'store.partial-max-age': setting(
    duration(),
    '24h',
    'Time for which an unfinished blob without readers is kept',
  ),

  'pull.linger': setting(
    duration({ min: 0 }),
    '10s',
    'Time for which a download goes on after its last reader has left',
  ),
  'pull.max-concurrent': setting(integer({ min: 1, max: 4096 }), '64', 'Downloads at one time'),
  'pull.prefetch': setting(
    choice(['on', 'off']),
    'on',
    'on: small layers are fetched before the runtime asks for them, where its content can be seen',
  ),

  'preheat.token-file': setting(
    optionalFile(),
    '',
    'File with the token of those who may order images to be pulled beforehand, the same on all nodes; empty: no orders are given or taken',
  ),

  'upstream.connect-timeout': setting(duration(), '3s', 'Longest time to connect to a registry'),
  'upstream.header-timeout': setting(duration(), '4s', "Longest wait until a registry's answer begins"),
  'upstream.stall-timeout': setting(
    duration(),
    '5s',
    'Longest time without a byte from a registry before the request is repeated',
  ),
  'upstream.retries': setting(
    integer({ min: 0, max: 100 }),
    '5',
    'Repeated attempts without a byte before a download fails; a download that has begun gets at least 4s',
  ),
  'upstream.max-connections': setting(
    integer({ min: 1, max: 1024 }),
    '32',
    'Connections to one registry at one time; at least one for each byte worker, and one for manifests',
  ),
  'upstream.max-download': setting(RATE, 'none', 'Limit of bytes per second from registries'),
  'upstream.max-cluster-download': setting(
    RATE,
    'none',
    'The same for all members together: each node takes the part of one live member. Give it for all members',
  ),
  'upstream.allow-private': setting(
    choice(['yes', 'no']),
    'yes',
    'no: redirects, token servers and members may lead to a private address only if `registries` names it',
  ),
  'upstream.ca-file': setting(
    optionalFile(),
    '',
    'PEM file of certificate authorities to trust besides the usual ones',
  ),
  'upstream.certs-folders': setting(
    autoNoneOrPaths(),
    'auto',
    "Folders like Docker's certs.d, for registries without certificates here; auto: containerd's, Docker's, podman's",
  ),
  'upstream.docker-config': setting(
    optionalFile(),
    '',
    "Docker's config.json with credentials for registries, used if the runtime sends none",
  ),

  'log.level': setting(
    choice(['trace', 'debug', 'info', 'warn', 'error', 'silent']),
    'info',
    'Least severe level that is logged; weir log-level and SIGUSR2 change it while the node runs',
  ),
  'log.format': setting(
    choice(['auto', 'json', 'pretty']),
    'auto',
    'auto: pretty in a terminal, JSON lines otherwise',
  ),
} as const;

export type SettingKey = keyof typeof SETTINGS;

type ValueOf<S> = S extends Setting<infer T> ? T : never;

/** The effective configuration: durations in milliseconds, sizes in bytes. */
export type Config = {
  readonly [Key in SettingKey]: ValueOf<(typeof SETTINGS)[Key]>;
} & {
  /** In YAML only. */
  readonly registries: ReadonlyMap<RegistryHost, RegistryConfig>;
};

export type ConfigKey = keyof Config;

export const SETTING_KEYS: readonly SettingKey[] = Object.keys(SETTINGS) as SettingKey[];

/** The setting without the type of its value, for code that treats all settings alike. */
export function settingOf(key: SettingKey): Setting<unknown> {
  return SETTINGS[key] as Setting<unknown>;
}
