/**
 * What a machine pulls from where, by each runtime's own rules, before and after `weir host configure`: without Weir's
 * part it is the same, and Weir is asked for nothing but the place that follows it.
 */
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { stringify as tomlOf } from 'smol-toml';
import { stringify as yamlOf } from 'yaml';
import { parseRoute } from '../../../../src/mirror/route.ts';
import { DOCKER_HUB } from '../../../../src/oci/repository.ts';
import {
  containerdPlaces,
  type ContainerdPlace,
  type ContainerdVersion,
} from '../../../support/models/containerd-hosts.ts';
import { REFERENCES, registriesConf } from '../../../support/models/generated-registries-conf.ts';
import { areAccepted, podmanPlaces, type PodmanPlace } from '../../../support/models/registries-conf.ts';
import { rancherPlaces } from '../../../support/models/registries-yaml.ts';
import { Machine, MIRROR, PATHS } from './fixture.ts';

const RUNS = { numRuns: 150 };
const MIRROR_HOST = new URL(MIRROR).host;
const CERTS = ['/etc/containerd/certs.d', '/etc/docker/certs.d'] as const;

const registry = fc.constantFrom('docker.io', 'quay.io', 'reg.corp', 'reg.corp:5000', 'ghcr.io:443');
const asked = fc.record({
  registries: fc.subarray(['_default', 'docker.io', 'reg.corp', 'reg.corp:5000'], { minLength: 1 }),
  direct: fc.subarray(['ghcr.io:443', 'quay.io']),
});

/** The place that Weir asks for a request of podman. */
function placeOfPath(place: string): string {
  const route = parseRoute(`/v2/${place.slice(MIRROR_HOST.length + 1)}/manifests/x`, DOCKER_HUB);
  assert.ok(route.kind === 'manifest' && route.byPath, place);
  return `${route.repository.registry}/${route.repository.name}`;
}

describe('what held for podman before Weir', function () {
  this.timeout(60_000);
  it('holds after it, whatever registries.conf says', async () => {
    await fc.assert(
      fc.asyncProperty(
        registriesConf,
        asked,
        fc.constantFrom('mirror' as const, 'registry' as const),
        async (main, { registries, direct }, resolve) => {
          await using machine = await Machine.create({ [PATHS.containersMain]: main });
          await machine.configure({ registries, direct: [...direct, 'docker.io/org'], resolve }, [
            'containers',
          ]);
          const own = await machine.read(PATHS.containers).catch(() => '');
          // What replaces a prefix cannot be followed by a port: a note says so.
          const isUnclear = (each: string): boolean =>
            each.startsWith('reg.corp:5000') &&
            !registries.includes('reg.corp:5000') &&
            registries.includes('reg.corp');
          assert.ok(areAccepted([main, own]));
          const kinds = ['tag', 'digest'] as const;
          const pulls = REFERENCES.filter((each) => !isUnclear(each)).flatMap((each) =>
            kinds.map((kind) => [each, kind] as const),
          );
          for (const [reference, kind] of pulls) {
            const before = podmanPlaces(reference, kind, [main]);
            const after = podmanPlaces(reference, kind, [main, own]);
            if (!Array.isArray(before) || !Array.isArray(after)) {
              assert.deepEqual(after, before, reference);
              continue;
            }
            const others = after.filter(({ place }) => !place.startsWith(`${MIRROR_HOST}/`));
            assert.deepEqual(others, before, reference);
            for (const [index, { place }] of after.entries()) {
              if (!place.startsWith(`${MIRROR_HOST}/`)) continue;
              const next: PodmanPlace | undefined = after[index + 1];
              assert.ok(next !== undefined && !next.isBlocked);
              assert.equal(placeOfPath(place), next.place.replace('docker.io/x', 'docker.io/library/x'));
            }
          }
        },
      ),
      RUNS,
    );
  });
});

describe('what held for containerd before Weir', function () {
  this.timeout(60_000);
  const url = fc.constantFrom(
    'https://mirror.corp',
    'https://quay.io',
    'https://registry-1.docker.io',
    'https://h.corp/v2/hub',
  );
  const hosts = fc.dictionary(url, fc.record({ capabilities: fc.constant(['pull', 'resolve']) }), {
    maxKeys: 2,
  });
  const file = fc.record({ server: url, host: hosts }, { requiredKeys: [] });
  /** A folder of a registry, with a file or with certificates alone. */
  const folder = fc.oneof(
    file.map((each) => ({ 'hosts.toml': tomlOf(each) })),
    fc.constant({ 'ca.crt': 'x' }),
    file.map((each) => ({ 'hosts.toml': tomlOf(each), 'ca.crt': 'x' })),
  );
  const tree = fc.dictionary(
    fc.oneof(registry, fc.constant('_default'), fc.constant('reg.corp_5000_')),
    folder,
    { maxKeys: 4 },
  );

  it('holds after it, whatever is in the folders of config_path', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.tuple(tree, tree),
        fc.integer({ min: 1, max: 2 }),
        asked,
        fc.constantFrom<ContainerdVersion>(1, 2),
        async (trees, count, wish, version) => {
          const folders = CERTS.slice(0, count);
          const config = `version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "${folders.join(':')}"\n`;
          await using machine = await Machine.create({ [PATHS.containerdConfig]: config });
          for (const [index, parent] of folders.entries()) {
            for (const [name, files] of Object.entries(trees[index] ?? {})) {
              for (const [path, text] of Object.entries(files))
                await machine.write(`${parent}/${name}/${path}`, text);
            }
          }
          const snapshot = await machine.snapshot();
          const names = ['docker.io', 'quay.io', 'reg.corp', 'reg.corp:5000', 'ghcr.io:443', 'new.corp'];
          const places = async (name: string): Promise<Awaited<ReturnType<typeof containerdPlaces>>> =>
            containerdPlaces(machine.path('/'), folders, name, version);
          const before = new Map(
            await Promise.all(names.map(async (name) => [name, await places(name)] as const)),
          );
          await machine.configure(wish, ['containerd']);
          for (const name of names) {
            const after = await places(name);
            // The registry itself may stand there twice, as host and as server.
            const once = (found: readonly ContainerdPlace[]): readonly ContainerdPlace[] =>
              found
                .filter(({ place }) => place !== MIRROR)
                .filter(({ place }, index, all) => place !== all[index - 1]?.place);
            const [held, holds] = [once(before.get(name) ?? []), once(after)];
            assert.deepEqual(
              holds.map(({ place }) => place),
              held.map(({ place }) => place),
              name,
            );
            for (const [index, { certificates }] of held.entries()) {
              assert.ok(
                certificates.every((each) => holds[index]?.certificates.includes(each)),
                name,
              );
            }
            const at = after.findIndex(({ place }) => place === MIRROR);
            if (at === -1) continue;
            assert.ok(!wish.direct.includes(name), `${name} is direct`);
            // Weir asks the registry of the name: nothing else may follow.
            for (const { place } of after.slice(at + 1)) {
              const host = new URL(place).host.replace('registry-1.docker.io', 'docker.io');
              assert.equal(host, name.replace(/:443$/, ''), `${name} at ${place}`);
            }
          }
          await machine.restore();
          assert.deepEqual(await machine.snapshot(), snapshot);
        },
      ),
      RUNS,
    );
  });
});

describe('what held for k3s before Weir', function () {
  this.timeout(60_000);
  const endpoint = fc.constantFrom('https://mirror.corp', 'https://h.corp/v2', 'https://quay.io');
  const entry = fc.record(
    { endpoint: fc.array(endpoint, { maxLength: 2 }), rewrite: fc.constant({ '^(.*)$': 'all/$1' }) },
    { requiredKeys: [] },
  );
  const name = fc.constantFrom('*', 'docker.io', 'quay.io');
  const plain = fc.dictionary(name, entry, { maxKeys: 3 }).map((mirrors) => yamlOf({ mirrors }));
  const aliased = fc
    .tuple(entry, fc.constantFrom('*m', '{<<: *m}'))
    .map(([first, second]) => `mirrors:\n  docker.io: &m ${JSON.stringify(first)}\n  "*": ${second}\n`);

  it('holds after it, whatever registries.yaml says', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(plain, aliased),
        fc.subarray(['_default', 'docker.io'], { minLength: 1 }),
        async (text, registries) => {
          await using machine = await Machine.create({ [PATHS.k3s]: text });
          await machine.configure({ registries }, ['k3s']);
          const now = await machine.read(PATHS.k3s);
          for (const each of ['docker.io', 'quay.io', 'reg.corp']) {
            const before = rancherPlaces(text, each);
            const after = rancherPlaces(now, each);
            assert.deepEqual(
              after.filter(({ url }) => url !== MIRROR),
              before,
              each,
            );
            const at = after.findIndex(({ url }) => url === MIRROR);
            if (at === -1) continue;
            assert.ok(!after[at]?.isRewritten, each);
            assert.ok(
              after.slice(at + 1).every(({ url }) => new URL(url).host === each),
              each,
            );
          }
          await machine.restore();
          assert.equal(await machine.read(PATHS.k3s), text);
        },
      ),
      RUNS,
    );
  });
});

describe('what held for dockerd before Weir', () => {
  it('holds after it: other mirrors come first, and a command line is respected', async () => {
    await using machine = await Machine.create({
      [PATHS.docker]: '{"registry-mirrors": ["http://mirror.corp"]}',
    });
    const { lines } = await machine.configure({}, ['docker']);
    assert.deepEqual(JSON.parse(await machine.read(PATHS.docker)), {
      'registry-mirrors': ['http://mirror.corp', MIRROR],
    });
    assert.match(lines.join('\n'), /docker\.io is pulled from http:\/\/mirror\.corp first/);
  });

  for (const [where, path, text] of [
    ['the process', '/proc/77/cmdline', '/usr/bin/dockerd\0--registry-mirror=http://mirror.corp\0'],
    [
      'a drop-in of its unit',
      '/etc/systemd/system/docker.service.d/x.conf',
      '[Service]\nExecStart=\nExecStart=/usr/bin/dockerd \\\n  --registry-mirror http://mirror.corp\n',
    ],
  ] as const) {
    it(`is left alone if ${where} gives it a mirror, as it would not start with two`, async () => {
      await using machine = await Machine.create({ [PATHS.docker]: '{}', [path]: text });
      const { lines } = await machine.configure();
      assert.equal(await machine.read(PATHS.docker), '{}');
      assert.match(
        lines.join('\n'),
        /command line \(--registry-mirror http:\/\/mirror\.corp\).*nothing was changed/,
      );
    });
  }

  it('is written to the file that dockerd was told to read', async () => {
    await using machine = await Machine.create({
      '/proc/77/cmdline': 'dockerd\0--config-file\0/srv/d.json\0',
      '/srv/d.json': '{"registry-mirrors": null}',
    });
    await machine.configure();
    assert.deepEqual(JSON.parse(await machine.read('/srv/d.json')), { 'registry-mirrors': [MIRROR] });
  });
});
