/**
 * libp2p's datastore in memory: peers and provider records. libp2p's own memory store has no bound, and scans all
 * entries for every question about a provider: tens of milliseconds each with the records of a large cluster. Here
 * entries are grouped by their parent path: all providers of one CID are one group.
 */
import { NotFoundError } from '@libp2p/interface';
import type { Libp2pOptions } from 'libp2p';
import { KIB, MIB } from '../util/clock.ts';

type Datastore = NonNullable<Libp2pOptions['datastore']>;
type Key = Parameters<Datastore['get']>[0];
type Query = Parameters<Datastore['query']>[0];
type KeyQuery = Parameters<Datastore['queryKeys']>[0];
type Batch = ReturnType<Datastore['batch']>;

interface Pair {
  readonly key: Key;
  readonly value: Uint8Array;
}

/** Entries with one parent path; least recently written first. */
type Group = Map<string, Pair>;

/** Bytes of one value: a peer with all that a record may contain has 2 KiB. */
const MAX_VALUE = 4 * KIB;
/** 200,000 provider records and 8192 peers take about 40 MiB. */
const MAX_BYTES = 64 * MIB;

export interface GroupedStoreOptions {
  /** Entries in all; the group written longest ago loses its entries first. */
  readonly maxEntries?: number;
  /** Bytes of paths and values in all: about 130 for a provider record, 1.5 KiB for a peer. */
  readonly maxBytes?: number;
  /**
   * Entries of one group below three or more path elements, which are provider records. A layer that a thousand nodes
   * have needs no thousand peer IDs in each answer.
   */
  readonly maxProviders?: number;
}

export class GroupedStore implements Datastore {
  readonly #groups: Map<string, Group> = new Map();
  readonly #maxEntries: number;
  readonly #maxProviders: number;
  readonly #maxBytes: number;
  #size = 0;
  #bytes = 0;

  constructor(options: GroupedStoreOptions = {}) {
    const { maxEntries = 200_000, maxProviders = 32, maxBytes = MAX_BYTES } = options;
    this.#maxEntries = maxEntries;
    this.#maxBytes = maxBytes;
    this.#maxProviders = maxProviders;
  }

  get size(): number {
    return this.#size;
  }

  /** Bytes of all paths and values. */
  get bytes(): number {
    return this.#bytes;
  }

  /** @throws RangeError for a value that is too long: libp2p then keeps the old one, and tells its caller */
  put(key: Key, value: Uint8Array): Key {
    const path = key.toString();
    const parent = parentOf(path);
    if (value.length > MAX_VALUE) throw new RangeError(`a value of ${value.length} bytes under ${parent}`);
    this.delete(key);
    const group = this.#groups.get(parent) ?? new Map<string, Pair>();
    this.#groups.delete(parent);
    this.#groups.set(parent, group);
    group.set(path, { key, value });
    this.#size += 1;
    this.#bytes += path.length + value.length;
    if (depthOf(parent) >= PROVIDER_DEPTH && group.size > this.#maxProviders) this.#dropFirst(group);
    while (this.#size > this.#maxEntries || this.#bytes > this.#maxBytes) this.#dropOldest();
    return key;
  }

  /** @throws NotFoundError, as libp2p expects */
  get(key: Key): Uint8Array {
    const path = key.toString();
    const pair = this.#groups.get(parentOf(path))?.get(path);
    if (pair === undefined) throw new NotFoundError();
    return pair.value;
  }

  has(key: Key): boolean {
    const path = key.toString();
    return this.#groups.get(parentOf(path))?.has(path) === true;
  }

  delete(key: Key): void {
    const path = key.toString();
    const parent = parentOf(path);
    const group = this.#groups.get(parent);
    const pair = group?.get(path);
    if (group === undefined || pair === undefined) return;
    group.delete(path);
    this.#size -= 1;
    this.#bytes -= path.length + pair.value.length;
    if (group.size === 0) this.#groups.delete(parent);
  }

  *query({ prefix = '', filters = [], orders = [], offset = 0, limit = Infinity }: Query): Generator<Pair> {
    let found = [...this.#below(prefix)].filter((pair) => filters.every((filter) => filter(pair)));
    for (const order of orders) found = found.sort(order);
    yield* found.slice(offset, offset + limit);
  }

  *queryKeys({
    prefix = '',
    filters = [],
    orders = [],
    offset = 0,
    limit = Infinity,
  }: KeyQuery): Generator<Key> {
    let found = [...this.#below(prefix)]
      .map(({ key }) => key)
      .filter((key) => filters.every((filter) => filter(key)));
    for (const order of orders) found = found.sort(order);
    yield* found.slice(offset, offset + limit);
  }

  async *putMany(source: AsyncIterable<Pair> | Iterable<Pair>): AsyncGenerator<Key> {
    for await (const { key, value } of source) yield this.put(key, value);
  }

  async *getMany(source: AsyncIterable<Key> | Iterable<Key>): AsyncGenerator<Pair> {
    for await (const key of source) yield { key, value: this.get(key) };
  }

  async *deleteMany(source: AsyncIterable<Key> | Iterable<Key>): AsyncGenerator<Key> {
    for await (const key of source) {
      this.delete(key);
      yield key;
    }
  }

  batch(): Batch {
    const todo: (() => void)[] = [];
    return {
      put: (key, value) => void todo.push(() => this.put(key, value)),
      delete: (key) => void todo.push(() => this.delete(key)),
      commit: () => {
        for (const work of todo.splice(0)) work();
      },
    };
  }

  /** A prefix that names a group stands for it; any other is compared with each path. */
  *#below(prefix: string): Generator<Pair> {
    const named = this.#groups.get(prefix.replace(/\/$/, ''));
    if (named !== undefined) {
      yield* named.values();
      return;
    }
    for (const group of this.#groups.values()) {
      for (const [path, pair] of group) if (path.startsWith(prefix)) yield pair;
    }
  }

  #dropOldest(): void {
    const [oldest] = this.#groups.values();
    if (oldest !== undefined) this.#dropFirst(oldest);
  }

  #dropFirst(group: Group): void {
    const [first] = group.values();
    if (first !== undefined) this.delete(first.key);
  }
}

/** `/dht/provider/<cid>` above `<peer>`. */
const PROVIDER_DEPTH = 3;

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}

function depthOf(path: string): number {
  return path.split('/').length - 1;
}
