/**
 * The OCI distribution spec's own conformance suite, pull and content discovery, against the mirror.
 *
 * The suite addresses a registry by its path alone, so the mirror's upstream is in the repository's name. The content is
 * pushed to the registry, as a mirror takes no pushes. docker-registry 2 has no referrers API and no pages of tags, and the
 * suite lets no registry pass without them: a proxy in front of it answers for both.
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MINUTE } from '../../src/util/clock.ts';
import { MEDIA_TYPES } from '../../src/oci/manifest.ts';
import { TEST_CACHE } from '../support/cache.ts';
import { request } from '../support/client.ts';
import { FaultProxy } from '../support/fault-proxy.ts';
import type { Fault, Rule } from '../support/fault-rules.ts';
import { shared } from '../support/fixture.ts';
import { buildArtifact, buildImage, descriptorOf, type TestImage } from '../support/images.ts';
import { describeResult, run } from '../support/program.ts';
import { push, putManifest } from '../support/push.ts';
import { Registry } from '../support/registry.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';
import { WeirNode } from '../support/weir.ts';

const SUITE = join(TEST_CACHE, 'conformance');
const REPOSITORY = 'conformance/app';
const TAGS = ['v1', 'v2', 'v3', 'v4'];
/** The suite's: it asks for the referrers of this type, and expects two of five. */
const FILTERED_TYPE = 'application/vnd.nhl.peanut.butter.bagel';
const OTHER_TYPE = 'application/vnd.weir.test';
/** Its specs for pull and content discovery, without those that set up and take down. */
const SPECS = 19;
const IS_SPEC = /^\[It\] (?!.* Setup )/;

interface Spec {
  readonly name: string;
  readonly status: string;
  /** The whole entry of the report. */
  readonly entry: string;
}

/** The specs of a JUnit report, as Ginkgo writes it. */
function readReport(xml: string): readonly Spec[] {
  const entries = xml.matchAll(
    /<testcase name="([^"]*)"[^>]*? status="([^"]*)"[\s\S]*?(?:\/>|<\/testcase>)/g,
  );
  return Array.from(entries, ([entry, name = '', status = '']) => ({ name, status, entry }));
}

/** The answers of a registry that has pages of tags. */
function tagPages(): readonly Rule[] {
  const page = (query: string, tags: readonly string[], headers: Record<string, string> = {}): Rule => ({
    path: new RegExp(`/tags/list\\?${query}$`),
    fault: answerOf({ name: REPOSITORY, tags }, { 'content-type': 'application/json', ...headers }),
  });
  const next = `last=${TAGS[1]}&n=2`; // as Go sorts parameters
  const link = `</v2/${REPOSITORY}/tags/list?${next}>; rel="next"`;
  return [page('n=2', TAGS.slice(0, 2), { link }), page(next, TAGS.slice(2))];
}

/** The answers of a registry that has the referrers API: five of `image`, two of them of the suite's type. */
async function referrersOf(image: TestImage, url: string): Promise<readonly Rule[]> {
  const artifacts = Array.from({ length: 5 }, (_, index) => buildArtifact(Buffer.from(`${index}`), image));
  for (const artifact of artifacts) await push(url, REPOSITORY, artifact.digest, artifact);
  const all = artifacts.map((artifact, index) =>
    Object.assign(descriptorOf(artifact), { artifactType: index < 2 ? FILTERED_TYPE : OTHER_TYPE }),
  );
  const mediaType = MEDIA_TYPES.ociIndex;
  const list = (path: string, manifests: readonly object[], headers: Record<string, string> = {}): Rule => ({
    path: new RegExp(path),
    fault: answerOf({ schemaVersion: 2, mediaType, manifests }, { 'content-type': mediaType, ...headers }),
  });
  const applied = { 'oci-filters-applied': 'artifactType' };
  return [
    list(`/referrers/${image.digest}\\?artifactType=`, all.slice(0, 2), applied),
    list(`/referrers/${image.digest}$`, all),
    list('/referrers/', []),
  ];
}

function answerOf(body: object, headers: Readonly<Record<string, string>>): Fault {
  return { kind: 'answer', status: 200, headers, body: JSON.stringify(body) };
}

requires('docker-registry', SUITE)('the conformance suite of the distribution spec', () => {
  const lab = shared(async (stack) => {
    const registry = stack.use(await Registry.start());
    const image = await buildImage({ seed: 'conformance', layers: [100_000] });
    await push(registry.url, REPOSITORY, TAGS[0] ?? '', image);
    for (const tag of TAGS) await putManifest(registry.url, REPOSITORY, tag, image);
    const rules = [...tagPages(), ...(await referrersOf(image, registry.url))];
    const front = stack.use(await FaultProxy.start(registry.url, rules));
    const weir = stack.use(await WeirNode.start());
    return { registry, front, weir, image };
  });

  it('finds nothing wrong with pulls and content discovery', async () => {
    const { front, weir, image } = lab();
    await using reports = await TempDir.create('conformance');
    const env = {
      OCI_ROOT_URL: weir.url,
      OCI_NAMESPACE: `${inPath(front.host)}/${REPOSITORY}`,
      OCI_TEST_PULL: '1',
      OCI_TEST_CONTENT_DISCOVERY: '1',
      OCI_MANIFEST_DIGEST: image.digest,
      OCI_BLOB_DIGEST: image.blobs[0]?.digest ?? '',
      OCI_TAG_NAME: TAGS[0] ?? '',
      OCI_TAG_LIST: TAGS.join(','),
      OCI_REPORT_DIR: reports.path,
      NO_COLOR: '1',
    };
    const result = await run(SUITE, [], { env, cwd: reports.path, timeout: 2 * MINUTE });
    const specs = readReport(await readFile(reports.join('junit.xml'), 'utf8'));
    const failed = specs.filter(({ status }) => status !== 'passed' && status !== 'skipped');
    assert.equal(failed.map(({ entry }) => entry).join('\n'), '');
    assert.equal(result.code, 0, describeResult('the suite', result));
    const passed = specs.filter(({ name, status }) => status === 'passed' && IS_SPEC.test(name));
    assert.equal(passed.length, SPECS, passed.map(({ name }) => name).join('\n'));
  });

  it('hears from a registry without a referrers API that there is none', async () => {
    const { registry, weir, image } = lab();
    const answer = await request(
      `${weir.url}/v2/${inPath(registry.host)}/${REPOSITORY}/referrers/${image.digest}`,
    );
    // Clients then look for the tag that names the subject.
    assert.equal(answer.status, 404);
  });
});

/** A registry as a path element. */
function inPath(host: string): string {
  return host.replace(':', '__');
}
