/**
 * Images without a registry (`access.trust-imported`): `weir import` has brought them to a member, and that is the
 * operator's word for their tags and for everybody's access to them. It goes before a registry's word, which may be
 * out of reach.
 *
 * ```
 * this node's records ──────────────────────────► trusted for good
 * else a member with such a record, when asked ─► trusted for a day
 * ```
 *
 * A member is believed on its own records alone, so each digest is asked for: a list in a manifest counts for nothing, as
 * anybody may write one. What is trusted is a digest in one repository. It is no proof that a registry delivered it, and
 * never becomes one: without the rule nothing of it is left.
 */
import { LRUCache } from 'lru-cache';
import { abortable, shared } from '../util/async.ts';
import { HOUR, SECOND, type Clock } from '../util/clock.ts';
import { digestOf, type Digest } from '../oci/digest.ts';
import { UNKNOWN_TYPE } from '../oci/manifest-type.ts';
import { formatImageReference, type ManifestReference } from '../oci/reference.ts';
import { registryBlobId, type RegistryBlob } from '../oci/registry-blob.ts';
import { repositoryKey, type RegistryHost, type Repository } from '../oci/repository.ts';
import type { PeerId } from '../protocol/peer-id.ts';
import {
  decodeReferenceAnswer,
  encodeReferenceQuestion,
  type ReferenceAnswer,
  type ReferenceQuestion,
} from '../protocol/reference-messages.ts';
import type { TagRecord } from '../store/catalog.ts';
import type { ImportRecords } from '../store/import-records.ts';
import type { AskMember } from './tag-owners.ts';

/** Milliseconds for which a member's word holds if it is not asked again: a pull may take hours. */
const TRUSTED_FOR = 24 * HOUR;
/** Digests that members have imported, and references. */
const MAX_TRUSTED = 50_000;
const MAX_REFERENCES = 10_000;
/** Members that have imported something of one repository. */
const MAX_SOURCES = 8;
/** Other members up to which all are asked. Above that the DHT names some, which takes seconds after an import. */
const ASK_ALL = 8;
/** Members asked about one reference, and milliseconds for their answers, which need no registry. */
const MAX_ASKED = 16;
const PATIENCE = 1 * SECOND;

/** The other members, as imports need them. */
export interface ImportMembers {
  /** Settles when the members are known, or none could be found. */
  readonly settled: Promise<void>;
  readonly others: () => readonly PeerId[];
  readonly ask: AskMember;
  /** Members that announced themselves under this key. */
  readonly find: (key: Digest) => Promise<readonly PeerId[]>;
}

export interface ImportsOptions {
  readonly records: ImportRecords;
  readonly clock: Clock;
  /** Milliseconds for which members' answers are used again. */
  readonly ttl: number;
  /** Undefined if there are none. */
  readonly members: () => ImportMembers | undefined;
}

export interface ImportQuestion {
  readonly repository: Repository;
  readonly reference: ManifestReference;
  readonly signal?: AbortSignal | undefined;
}

export interface FoundImport {
  readonly record: TagRecord;
  readonly isOwn: boolean;
  /** No member that has imported it answers now: this was the last answer. */
  readonly stale: boolean;
}

type Answered = { readonly peer: PeerId; readonly answer: ReferenceAnswer };

export class Imports {
  readonly #options: ImportsOptions;
  /** Sizes of blobs that members have imported, by repository and digest. */
  readonly #trusted: LRUCache<string, number>;
  /** The same blobs by {@link registryBlobId}, and their registries. */
  readonly #ofRegistry: LRUCache<string, true>;
  readonly #sources: LRUCache<string, readonly PeerId[]>;
  /** What members said last of a reference, and what holds for a few seconds; `nothing`: they said no. */
  readonly #last: LRUCache<string, TagRecord>;
  readonly #recent: LRUCache<string, FoundImport | 'nothing'>;
  readonly #asking: Map<string, Promise<FoundImport | undefined>> = new Map();

  constructor(options: ImportsOptions) {
    this.#options = options;
    const perf = { now: (): number => options.clock.monotonic() };
    const day = { ttl: TRUSTED_FOR, perf };
    this.#trusted = new LRUCache({ max: MAX_TRUSTED, ...day });
    this.#ofRegistry = new LRUCache({ max: 2 * MAX_TRUSTED, ...day });
    this.#sources = new LRUCache({ max: MAX_REFERENCES, ...day });
    this.#last = new LRUCache({ max: MAX_REFERENCES, ...day });
    // lru-cache takes a ttl of 0 for "for ever".
    this.#recent = new LRUCache({
      max: MAX_REFERENCES,
      ttl: Math.max(1, options.ttl),
      ttlResolution: 0,
      perf,
    });
  }

  /** The size of a blob that is known to be imported for this repository. */
  sizeIn(repository: Repository, digest: Digest): number | undefined {
    return (
      this.#options.records.sizeIn(repository, digest) ?? this.#trusted.get(inRepository(repository, digest))
    );
  }

  /** Whether the blob is known to be imported for this registry. */
  isOf({ registry, digest }: RegistryBlob): boolean {
    return (
      this.#options.records.isOf(registry, digest) ||
      this.#ofRegistry.has(registryBlobId({ registry, digest }))
    );
  }

  hasRegistry(registry: RegistryHost): boolean {
    return this.#options.records.hasRegistry(registry) || this.#ofRegistry.has(registry);
  }

  /** Members that have imported something of this repository. */
  sources(repository: Repository): readonly PeerId[] {
    return this.#sources.get(repositoryKey(repository)) ?? [];
  }

  hasSources(repository: Repository): boolean {
    return this.sources(repository).length > 0;
  }

  /** The size of a digest that was imported for this repository, here or at a member. */
  async findSize(
    { repository, signal }: Pick<ImportQuestion, 'repository' | 'signal'>,
    digest: Digest,
  ): Promise<number | undefined> {
    return (await this.find({ repository, reference: { kind: 'digest', digest }, signal }))?.record.size;
  }

  /** What a reference names by an import, here or at a member. */
  async find(question: ImportQuestion): Promise<FoundImport | undefined> {
    const own = this.#own(question);
    if (own !== undefined) return { record: own, isOwn: true, stale: false };
    const key = formatImageReference(question);
    const recent = this.#recent.get(key);
    if (recent !== undefined) return recent === 'nothing' ? undefined : recent;
    const { signal, ...work } = question; // the first caller may leave, and others wait for the same
    return await abortable(
      shared(this.#asking, key, () => this.#findElsewhere(work, key)),
      signal,
    );
  }

  /** Answers another member, from this node's own records. */
  answer({ repository, reference }: ReferenceQuestion): ReferenceAnswer {
    const own = this.#own({ repository, reference });
    if (own === undefined) return { status: 'unknown' };
    const { at, ...record } = own;
    const granted = Math.max(0, this.#options.clock.now() - at);
    return { status: 'found', ...record, granted, stale: false, imported: true };
  }

  #own({ repository, reference }: ImportQuestion): TagRecord | undefined {
    const { records } = this.#options;
    if (reference.kind === 'tag') {
      const record = records.tag(repository, reference.tag);
      return record && recordOf(record);
    }
    const { digest } = reference;
    const image = records.image(repository, digest);
    if (image !== undefined) return recordOf(image);
    const size = records.sizeIn(repository, digest);
    // A member that asks by digest gets the document, which names its type.
    return size === undefined ? undefined : { digest, mediaType: UNKNOWN_TYPE, size, at: 0 };
  }

  async #findElsewhere(question: ImportQuestion, key: string): Promise<FoundImport | undefined> {
    const answers = await this.#ask(question, key);
    const found = answers.flatMap(({ peer, answer }) =>
      isImport(answer, question) ? [{ peer, answer }] : [],
    );
    // Of two imports of one tag the later one counts, as at one node.
    const [newest] = found.toSorted((a, b) => a.answer.granted - b.answer.granted);
    if (newest === undefined) return this.#notFound(question, key, answers);
    const { digest, mediaType, size, granted } = newest.answer;
    const record = { digest, mediaType, size, at: this.#options.clock.now() - granted };
    const peers = found.filter(({ answer }) => answer.digest === digest).map(({ peer }) => peer);
    this.#trust(question.repository, record, peers);
    const result = { record, isOwn: false, stale: false };
    this.#last.set(key, record);
    this.#recent.set(key, result);
    return result;
  }

  #notFound(question: ImportQuestion, key: string, answers: readonly Answered[]): FoundImport | undefined {
    this.#recent.set(key, 'nothing');
    const last = this.#last.get(key);
    if (last === undefined) return undefined;
    const sources = this.sources(question.repository);
    const isWithdrawn = answers.some(
      ({ peer, answer }) => answer.status === 'unknown' && sources.includes(peer),
    );
    if (isWithdrawn) this.#last.delete(key);
    this.#recent.delete(key); // the member may come back at any moment
    return isWithdrawn ? undefined : { record: last, isOwn: false, stale: true };
  }

  #trust(repository: Repository, { digest, size }: TagRecord, peers: readonly PeerId[]): void {
    const { registry } = repository;
    const name = repositoryKey(repository);
    this.#trusted.set(inRepository(repository, digest), size ?? 0);
    this.#ofRegistry.set(registryBlobId({ registry, digest }), true);
    this.#ofRegistry.set(registry, true);
    const sources = new Set([...peers, ...this.sources(repository)]);
    this.#sources.set(name, [...sources].slice(0, MAX_SOURCES));
  }

  async #ask(question: ImportQuestion, key: string): Promise<readonly Answered[]> {
    const members = this.#options.members();
    if (members === undefined) return [];
    await members.settled;
    const others = members.others();
    const sources = this.sources(question.repository).filter((peer) => others.includes(peer));
    let asked: readonly PeerId[] = sources;
    if (others.length <= ASK_ALL) asked = others;
    // A blob belongs to an image whose tag or digest was asked for before: that named its sources.
    else if (sources.length === 0 || question.reference.kind === 'tag')
      asked = [...new Set([...sources, ...(await members.find(announcedAs(key)))])];
    const { repository, reference } = question;
    const asks = { repository, reference, accept: undefined, token: undefined };
    // A member of an earlier version reads the first mark alone, and answers from memory.
    const bytes = encodeReferenceQuestion({ ...asks, knownOnly: true, imported: true });
    const answers = asked.slice(0, MAX_ASKED).map(async (peer): Promise<Answered | undefined> => {
      try {
        const answer = decodeReferenceAnswer(await members.ask(peer, bytes, { timeout: PATIENCE }));
        return { peer, answer };
      } catch {
        return undefined; // it is not there, or does not know the question: others may, or the registry
      }
    });
    return (await Promise.all(answers)).filter((each) => each !== undefined);
  }
}

/** The key under which a node announces that it has imported this reference (`docker.io/library/alpine:v1`). */
export function announcedAs(reference: string): Digest {
  return digestOf(Buffer.from(`imported ${reference}`));
}

function inRepository(repository: Repository, digest: Digest): string {
  return `${repositoryKey(repository)} ${digest}`;
}

function recordOf({ digest, mediaType, size, at }: TagRecord): TagRecord {
  return { digest, mediaType, size, at };
}

/** Whether the member says that it has imported this very reference. */
function isImport(
  answer: ReferenceAnswer,
  { reference }: ImportQuestion,
): answer is Extract<ReferenceAnswer, { status: 'found' }> & { readonly size: number } {
  if (answer.status !== 'found' || answer.imported !== true || answer.size === undefined) return false;
  return reference.kind === 'tag' || answer.digest === reference.digest;
}
