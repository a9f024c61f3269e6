/** Imported images: who is believed about them, who may have them, and what is left without the rule. */
import assert from 'node:assert/strict';
import { HOUR, SECOND } from '../../../src/util/clock.ts';
import { isWeirError, WeirError } from '../../../src/util/errors.ts';
import { digestOf, type Digest } from '../../../src/oci/digest.ts';
import {
  formatImageReference,
  parseImageReference,
  type ImageReference,
} from '../../../src/oci/reference.ts';
import { peerIdOf, type PeerId } from '../../../src/protocol/peer-id.ts';
import {
  decodeReferenceQuestion,
  encodeReferenceAnswer,
  type ReferenceAnswer,
} from '../../../src/protocol/reference-messages.ts';
import { Access } from '../../../src/pull/access.ts';
import type { AccessMode } from '../../../src/pull/access-options.ts';
import { announcedAs, Imports } from '../../../src/pull/imports.ts';
import { Catalog } from '../../../src/store/catalog.ts';
import { ImportRecords, type ImportRecord } from '../../../src/store/import-records.ts';
import { ShiftedClock } from '../../support/shifted-clock.ts';
import { TempDir } from '../../support/temp.ts';

const APP = parseImageReference('registry.test/team/app:v1');
const OTHER = parseImageReference('registry.test/team/other:v1');
const digest = (text: string): Digest => digestOf(Buffer.from(text));
const TTL = 5 * SECOND;

function recordOf(
  { repository, reference }: ImageReference,
  at: number,
  ...contents: string[]
): ImportRecord {
  assert.ok(reference.kind === 'tag');
  const blobs = contents.map((text) => ({ digest: digest(text), size: text.length }));
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const [root = assert.fail()] = blobs;
  return { repository, tag: reference.tag, ...root, mediaType, at, blobs };
}

interface TestMember {
  readonly peer: PeerId;
  readonly records: ImportRecords;
  /** Undefined without the rule. */
  readonly imports: Imports | undefined;
}

/** Members that ask each other without a network. */
class TestMembers implements AsyncDisposable {
  readonly clock: ShiftedClock = new ShiftedClock();
  readonly members: Map<PeerId, TestMember> = new Map();
  /** Answers instead of the member. */
  readonly answers: Map<PeerId, () => ReferenceAnswer> = new Map();
  /** What was announced in the DHT. */
  readonly announced: Map<Digest, readonly PeerId[]> = new Map();
  questions = 0;
  readonly #dir: TempDir;

  private constructor(dir: TempDir) {
    this.#dir = dir;
  }

  static async create(): Promise<TestMembers> {
    return new TestMembers(await TempDir.create('members'));
  }

  async add(isTrusting = true): Promise<TestMember> {
    const peer = peerIdOf(Buffer.alloc(32, this.members.size + 1));
    const records = await ImportRecords.open(this.#dir.join(`${this.members.size}`), assert.fail);
    const imports = new Imports({
      records,
      clock: this.clock,
      ttl: TTL,
      members: () => ({
        settled: Promise.resolve(),
        others: () => [...this.members.keys()].filter((each) => each !== peer),
        ask: async (asked, bytes) => {
          this.questions++;
          const question = decodeReferenceQuestion(bytes);
          const member = this.members.get(asked);
          const answer = this.answers.get(asked)?.() ?? member?.imports?.answer(question);
          return encodeReferenceAnswer(answer ?? { status: 'unknown' });
        },
        find: async (key) => this.announced.get(key) ?? [],
      }),
    });
    const member = { peer, records, imports: isTrusting ? imports : undefined };
    this.members.set(peer, member);
    return member;
  }

  accessOf({ imports }: TestMember, mode: AccessMode = 'verify'): TestAccess {
    return new TestAccess(this.clock, imports, mode);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#dir[Symbol.asyncDispose]();
  }
}

/** The access rules of a node whose registry cannot be reached. */
class TestAccess {
  readonly catalog: Catalog = Catalog.open(':memory:');
  readonly access: Access;
  asked = 0;

  constructor(clock: ShiftedClock, imports: Imports | undefined, mode: AccessMode) {
    const unreachable = (): Promise<never> => {
      this.asked++;
      return Promise.reject(new WeirError('upstream_unreachable', 'there is no registry'));
    };
    const upstream = { headBlob: unreachable, headManifest: unreachable, speaksFor: () => false };
    const ttls = { ttl: HOUR, offlineTtl: HOUR };
    this.access = new Access({ mode, ...ttls, catalog: this.catalog, upstream, clock, imports });
  }

  /** Whether a caller without a credential gets the cached blob. */
  async isGranted({ repository }: ImageReference, blob: Digest): Promise<boolean> {
    try {
      const request = { repository, caller: 'configured' as const };
      return (await this.access.authorize(request, blob, 'blob')) === 'granted';
    } catch (error) {
      if (isWeirError(error, 'upstream_unreachable')) return false;
      throw error;
    }
  }
}

const isUnreachable = (error: unknown): boolean => isWeirError(error, 'upstream_unreachable');

describe('imported images', () => {
  let site: TestMembers;
  let importer: TestMember;
  let asker: TestMember;

  beforeEach(async () => {
    site = await TestMembers.create();
    importer = await site.add();
    asker = await site.add();
    await importer.records.add([recordOf(APP, site.clock.now(), 'manifest', 'config', 'layer')]);
  });
  afterEach(() => site[Symbol.asyncDispose]());

  const found = async (image = APP): Promise<Digest | undefined> =>
    (await asker.imports?.find(image))?.record.digest;

  it('are found by their tag and by their digest, at the node and at another member', async () => {
    for (const { imports } of [importer, asker]) {
      const byTag = await imports?.find(APP);
      assert.equal(byTag?.record.digest, digest('manifest'));
      assert.equal(byTag.record.mediaType, 'application/vnd.oci.image.manifest.v1+json');
      assert.equal(byTag.record.size, 8);
      assert.equal(byTag.stale, false);
      const reference = { kind: 'digest', digest: digest('manifest') } as const;
      const byDigest = await imports?.find({ repository: APP.repository, reference });
      assert.equal(byDigest?.record.size, 8);
    }
    assert.deepEqual(asker.imports?.sources(APP.repository), [importer.peer]);
    assert.equal(await found(OTHER), undefined);
  });

  it('are handed to every caller, and no registry is asked', async () => {
    for (const member of [importer, asker]) {
      const { access, ...scene } = site.accessOf(member);
      const granted = site.accessOf(member);
      for (const text of ['manifest', 'config', 'layer'])
        assert.ok(await granted.isGranted(APP, digest(text)), text);
      assert.equal(granted.asked + scene.asked, 0);
      const request = { repository: APP.repository, caller: 'configured' as const };
      assert.equal(await access.admit(request, digest('layer')), 5);
      assert.ok(access.isProven({ registry: APP.repository.registry, digest: digest('layer') }));
    }
  });

  it('are nothing in another repository, and open nothing else in their own', async () => {
    for (const member of [importer, asker]) {
      const scene = site.accessOf(member);
      // A private image of the same registry is cached here, and its caller was accepted long ago.
      scene.access.proven(APP.repository, digest('private'));
      scene.access.proven(OTHER.repository, digest('layer'));
      assert.ok(await scene.isGranted(APP, digest('layer')));
      assert.ok(!(await scene.isGranted(APP, digest('private'))));
      assert.ok(!(await scene.isGranted(OTHER, digest('layer'))));
      const request = { repository: APP.repository, caller: 'configured' as const };
      await assert.rejects(scene.access.admit(request, digest('private')), isUnreachable);
    }
  });

  it('are not what a manifest merely lists', async () => {
    const { access, catalog } = site.accessOf(asker);
    await found();
    assert.ok(access.isImported(APP.repository, digest('manifest')));
    assert.ok(!access.isImported(APP.repository, digest('layer'))); // it was not asked for
    access.listed(APP.repository, 'blob', [{ digest: digest('private'), size: 7 }]);
    catalog.addProof({ registry: APP.repository.registry, digest: digest('private') }, 0);
    const request = { repository: APP.repository, caller: 'configured' as const };
    await assert.rejects(access.authorize(request, digest('private'), 'blob'), isUnreachable);
  });

  it('prove nothing of the registry: without the rule nothing is left of them', async () => {
    const scene = site.accessOf(asker);
    assert.ok(await scene.isGranted(APP, digest('layer')));
    scene.access.proven(APP.repository, digest('layer')); // as after a pull from members
    const { registry } = APP.repository;
    assert.ok(!scene.catalog.isProven({ registry, digest: digest('layer') }));
    assert.ok(!scene.catalog.isServed(APP.repository, digest('layer')));
    assert.ok(!scene.catalog.hasDelivered(registry));
  });

  it('are served by nobody without the rule, and found by nobody without it', async () => {
    const closed = await site.add(false);
    await closed.records.add([recordOf(OTHER, site.clock.now(), 'other')]);
    assert.equal(await found(OTHER), undefined);
    const scene = site.accessOf(closed);
    assert.ok(!(await scene.isGranted(OTHER, digest('other'))));
    assert.ok(!(await scene.isGranted(APP, digest('layer'))));
    assert.ok(!scene.access.isProven({ registry: OTHER.repository.registry, digest: digest('other') }));
  });

  it('are not believed of a member that has asked a registry, or answers something else', async () => {
    const answer = {
      status: 'found',
      digest: digest('x'),
      mediaType: 'a/b',
      size: 1,
      granted: 0,
      stale: false,
    } as const;
    site.answers.set(importer.peer, () => answer); // an earlier version's
    assert.equal(await found(), undefined);
    site.clock.advance(TTL + 1);
    site.answers.set(importer.peer, () => ({ ...answer, imported: true }));
    const reference = { kind: 'digest', digest: digest('manifest') } as const;
    assert.equal(await asker.imports?.find({ repository: APP.repository, reference }), undefined);
  });

  it('are those of the later import if two members have one tag', async () => {
    const other = await site.add();
    await importer.records.add([recordOf(APP, site.clock.now() - HOUR, 'manifest')]);
    await other.records.add([recordOf(APP, site.clock.now(), 'newer')]);
    assert.equal(await found(), digest('newer'));
  });

  it('are asked for once in a while, and by all callers together', async () => {
    await Promise.all([found(), found(), found()]);
    await found();
    assert.equal(site.questions, 1);
    site.clock.advance(TTL + 1);
    await found();
    assert.equal(site.questions, 2);
  });

  it('are gone a moment after they were removed, and stay while their member is away', async () => {
    assert.equal(await found(), digest('manifest'));
    site.clock.advance(TTL + 1);
    site.answers.set(importer.peer, () => {
      throw new WeirError('peer_unreachable', 'it is away');
    });
    const away = await asker.imports?.find(APP);
    assert.equal(away?.record.digest, digest('manifest'));
    assert.ok(away.stale);
    site.answers.clear();
    assert.ok(APP.reference.kind === 'tag');
    await importer.records.remove(APP.repository, APP.reference.tag);
    assert.equal(await found(), undefined);
    site.clock.advance(24 * HOUR);
    assert.ok(!(await site.accessOf(asker).isGranted(APP, digest('layer'))));
  });

  it('are found by the DHT where there are too many members to ask them all', async () => {
    for (let more = 0; more < 12; more++) await site.add();
    assert.equal(await found(), undefined);
    assert.equal(site.questions, 0);
    site.clock.advance(TTL + 1);
    site.announced.set(announcedAs(formatImageReference(APP)), [importer.peer]);
    assert.equal(await found(), digest('manifest'));
    assert.equal(site.questions, 1);
    // Its blobs are asked of the member that is known by now.
    assert.ok(await site.accessOf(asker).isGranted(APP, digest('layer')));
    assert.equal(site.questions, 2);
  });

  it('leave a caller whom the registry has accepted to the registry', async () => {
    const { access } = site.accessOf(asker);
    const request = { repository: OTHER.repository, caller: 'configured' as const };
    access.accepted(request);
    assert.equal(await access.importedSize(request, digest('layer')), undefined);
    assert.equal(site.questions, 0);
  });
});
