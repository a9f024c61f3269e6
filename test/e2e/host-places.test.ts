/**
 * The models of test/support/models against the real programs: from where containerd, podman and skopeo pull by generated
 * files, before and after `weir host configure`.
 */
import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import * as fc from 'fast-check';
import { stringify as tomlOf } from 'smol-toml';
import { configureHost } from '../../src/cli/runtimes/host-setup.ts';
import { STATE_FOLDER } from '../../src/host/original-files.ts';
import type { Runtime, Wish } from '../../src/cli/runtimes/target.ts';
import { Containerd } from '../support/containerd.ts';
import { HttpServer } from '../support/http-server.ts';
import { containerdPlaces } from '../support/models/containerd-hosts.ts';
import { REFERENCES, registriesConf } from '../support/models/generated-registries-conf.ts';
import { podmanPlaces } from '../support/models/registries-conf.ts';
import { run } from '../support/program.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';

const configure = async (root: TempDir, runtime: Runtime, wish: Partial<Wish>): Promise<void> => {
  const whole: Wish = {
    mirrorUrl: 'http://127.0.0.1:4770',
    registries: ['_default'],
    direct: [],
    resolve: 'mirror',
    ...wish,
  };
  await configureHost(whole, {
    root: root.path,
    stateFolder: STATE_FOLDER,
    runtimes: [runtime],
    dryRun: false,
  });
};

requires(
  'root',
  'skopeo',
  'unshare',
)('from where podman and skopeo pull', () => {
  const own = 'etc/containers/registries.conf.d/99-weir.conf';

  /** Without a network each place fails at once, and the log names it. */
  async function pull(root: TempDir, reference: string): Promise<string> {
    const mount = `mount --bind ${root.path}/etc/containers /etc/containers && exec "$@"`;
    const within = ['unshare', '--mount', '--net', 'sh', '-c', mount, 'sh'];
    const env = { HOME: root.path, XDG_CONFIG_HOME: root.path };
    const args = ['--debug', 'inspect', '--raw', `docker://${reference}:t`];
    const { stderr, code } = await run('skopeo', args, { within, env });
    assert.notEqual(code, 0);
    assert.doesNotMatch(stderr, /loading registries configuration/);
    return stderr;
  }

  /** Without a table for the reference the log does not say that it is tried. */
  const triedIn = (log: string, reference: string): readonly string[] => {
    const places = [...log.matchAll(/Trying to access \\"([^"\\]+):t\\"/g)].map(([, place = '']) => place);
    return places.length === 0 ? [reference] : places;
  };

  it('is as the model says, before and after configure', async () => {
    await fc.assert(
      fc.asyncProperty(
        registriesConf,
        fc.subarray([...REFERENCES], { minLength: 2, maxLength: 3 }),
        async (main, references) => {
          await using root = await TempDir.create('places');
          await mkdir(root.join('etc/containers/registries.conf.d'), { recursive: true });
          await writeFile(
            root.join('etc/containers/policy.json'),
            JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] }),
          );
          await writeFile(root.join('etc/containers/registries.conf'), main);
          for (const isConfigured of [false, true]) {
            if (isConfigured) await configure(root, 'containers', {});
            const files = [
              main,
              ...(isConfigured ? [await readFile(root.join(own), 'utf8').catch(() => '')] : []),
            ];
            for (const reference of references) {
              const places = podmanPlaces(reference, 'tag', files);
              const log = await pull(root, reference);
              const hint = `${reference}, ${files.join('\n---\n')}`;
              if (places === 'invalid')
                assert.match(log, /invalid reference format|rewriting reference/, hint);
              else {
                assert.deepEqual(
                  triedIn(log, reference),
                  places.map(({ place }) => place),
                  hint,
                );
                const isAnyBlocked = places.some(({ isBlocked }) => isBlocked);
                assert.equal(log.includes('is blocked in'), isAnyBlocked, hint);
              }
            }
          }
        },
      ),
      { numRuns: 30 },
    );
  });
});

requires(
  'root',
  'containerd',
  'ctr',
)('from where containerd pulls', () => {
  it('is as the model says, before and after configure', async () => {
    const asked: string[] = [];
    const servers: HttpServer[] = [];
    await using stack = new AsyncDisposableStack();
    for (let i = 0; i < 5; i += 1) {
      const server: HttpServer = stack.use(
        await HttpServer.start((_request, response) => {
          asked.push(server.url);
          response.writeHead(404).end();
        }),
      );
      servers.push(server);
    }
    const [mirror = '', first = '', second = '', one = '', two = ''] = servers.map(({ url }) => url);
    const registries = [one, two].map((url) => new URL(url).host);
    const hosts = fc.dictionary(
      fc.constantFrom(first, second, one),
      fc.record({ capabilities: fc.constant(['pull', 'resolve']) }),
      { maxKeys: 3 },
    );
    const file = fc.record({ server: fc.constantFrom(first, one, two), host: hosts }, { requiredKeys: [] });
    const names = fc.constantFrom(
      '_default',
      ...registries,
      ...registries.map((host) => host.replace(/:(\d+)$/, '_$1_')),
    );
    const tree = fc.dictionary(names, file, { maxKeys: 3 });
    await fc.assert(
      fc.asyncProperty(
        tree,
        fc.subarray(['_default', ...registries], { minLength: 1 }),
        fc.subarray(registries),
        async (files, wished, direct) => {
          await using root = await TempDir.create('places');
          const folder = '/etc/containerd/certs.d';
          await mkdir(root.join('etc/containerd/certs.d'), { recursive: true });
          await writeFile(
            root.join('etc/containerd/config.toml'),
            `version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "${folder}"\n`,
          );
          for (const [name, table] of Object.entries(files)) {
            await mkdir(root.join(`etc/containerd/certs.d/${name}`));
            await writeFile(root.join(`etc/containerd/certs.d/${name}/hosts.toml`), tomlOf(table));
          }
          await using containerd = await Containerd.start({ root: root.path });
          for (const isConfigured of [false, true]) {
            if (isConfigured)
              await configure(root, 'containerd', { mirrorUrl: mirror, registries: wished, direct });
            for (const registry of registries) {
              asked.length = 0;
              await containerd.ctrPull(`${registry}/team/app:v1`, '--plain-http');
              const expected = (await containerdPlaces(root.path, [folder], registry, 1)).map(
                ({ place }) => new URL(place).host,
              );
              const isNew = (host: string, index: number, all: readonly string[]): boolean =>
                host !== all[index - 1];
              const met = asked.map((url) => new URL(url).host).filter(isNew);
              assert.deepEqual(met, expected.filter(isNew), `${registry}: ${JSON.stringify(files)}`);
            }
          }
        },
      ),
      { numRuns: 30 },
    );
  });
});
