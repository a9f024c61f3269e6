import assert from 'node:assert/strict';
import { chmod, chown, lstat, readdir, rm, stat, symlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parse as parseToml } from 'smol-toml';
import { isWeirError } from '../../../../src/util/errors.ts';
import { restoreHost } from '../../../../src/cli/runtimes/host-setup.ts';
import { STATE_FOLDER } from '../../../../src/host/original-files.ts';
import { Machine, MIRROR, PATHS } from './fixture.ts';

const CONFIG_PATH = `version = 2
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "/etc/containerd/hosts:/etc/docker/certs.d"
`;

/** Without the library's prototypes. */
const plain = (text: string): unknown => JSON.parse(JSON.stringify(parseToml(text)));

const failsWith = (pattern: RegExp) => (error: unknown) =>
  isWeirError(error, 'runtime_config') && pattern.test(error.message);

describe('host configure', () => {
  it('reports that no runtime was found, and writes nothing', async () => {
    await using machine = await Machine.create();
    const before = await machine.snapshot();
    assert.deepEqual((await machine.configure()).lines, [
      'no runtime was found on this machine: nothing was changed',
    ]);
    assert.deepEqual(await machine.snapshot(), before);
  });

  it('shows a diff and writes nothing with --dry-run', async () => {
    await using machine = await Machine.create({ [PATHS.docker]: '{\n  "debug": true\n}\n' });
    const before = await machine.snapshot();
    const { diff, lines } = await machine.configure({}, undefined, true);
    assert.match(diff, /^--- a\/etc\/docker\/daemon\.json\n\+\+\+ b\/etc\/docker\/daemon\.json\n@@ /);
    assert.match(diff, /^\+ {2}"registry-mirrors": \[$/m);
    assert.match(lines.join('\n'), /daemon\.json: would be written/);
    assert.deepEqual(await machine.snapshot(), before);
  });

  it('refuses a malformed file with its name and line before it writes anything', async () => {
    const malformed: readonly (readonly [string, string, RegExp])[] = [
      [PATHS.docker, '{\n  "a": 1,,\n}', /^\/etc\/docker\/daemon\.json:2 is not valid JSON/],
      [PATHS.docker, '{ // no\n}', /^\/etc\/docker\/daemon\.json:1 is not valid JSON/],
      [PATHS.docker, '{"registry-mirrors": "x"}', /has a "registry-mirrors" that is no list/],
      [PATHS.docker, '{"registry-mirrors": [], "registry-mirrors": ["http://a"]}', /write it only once/],
      [PATHS.docker, '{"a": '.repeat(20_000), /daemon\.json is nested too deeply/],
      [PATHS.hosts, 'server = "x"\n[host\n', /_default\/hosts\.toml:2 is not valid TOML/],
      [PATHS.k3s, 'mirrors:\n  a: b: c\n', /registries\.yaml:2 is not valid YAML/],
      [PATHS.k3s, 'a: *b\n', /registries\.yaml is not usable YAML \(.*alias/],
      [PATHS.k3s, '- '.repeat(20_000), /registries\.yaml(?::1)? is (?:nested too deeply|not valid YAML)/],
      [PATHS.k3s, 'mirrors: [a]\n', /"mirrors" that is no mapping/],
      [PATHS.k3s, 'mirrors: {"*": https://m.corp}\n', /a mirror "\*" that is no mapping/],
      [
        PATHS.k3s,
        'mirrors: {"*": {endpoint: https://m.corp}}\n',
        /an "endpoint" of "\*" that is no list of texts/,
      ],
      [PATHS.k3s, 'a: b\n---\na: c\n', /registries\.yaml:\d holds several documents/],
      [PATHS.containersMain, '[[registry\n', /registries\.conf:1 is not valid TOML/],
    ];
    for (const [path, text, message] of malformed) {
      await using machine = await Machine.create({ [PATHS.containerdConfig]: '', [path]: text });
      const before = await machine.snapshot();
      await assert.rejects(machine.configure(), failsWith(message), text.slice(0, 80));
      assert.deepEqual(await machine.snapshot(), before);
    }
  });

  it("reports that nothing was changed if the runtime's own configuration is malformed", async () => {
    for (const [path, text] of [
      [PATHS.containerdConfig, 'bad ['],
      [PATHS.docker, '{'],
      [PATHS.containersMain, '[[registry'],
    ] as const) {
      await using machine = await Machine.create({ [path]: text });
      await assert.rejects(machine.configure(), failsWith(/:1 is not valid .*; nothing was changed$/));
    }
  });

  it('reports a missing root folder', async () => {
    const options = { root: '/nonexistent', stateFolder: STATE_FOLDER, runtimes: undefined, dryRun: false };
    await assert.rejects(restoreHost(options), failsWith(/^\/nonexistent does not exist: see --host-root/));
  });

  it('follows links as the machine would, keeps them, and keeps mode and owner', async () => {
    await using machine = await Machine.create({ '/srv/daemon.json': '{}' });
    await machine.write('/etc/docker/x', '');
    await symlink('/srv/daemon.json', machine.path(PATHS.docker)); // absolute: within the machine's root
    await chmod(machine.path('/srv/daemon.json'), 0o640);
    if (process.getuid?.() === 0) await chown(machine.path('/srv/daemon.json'), 12, 34);
    await machine.configure();
    assert.ok((await lstat(machine.path(PATHS.docker))).isSymbolicLink());
    assert.match(await machine.read('/srv/daemon.json'), /127\.0\.0\.1:4770/);
    const { mode, uid, gid } = await stat(machine.path('/srv/daemon.json'));
    assert.equal(mode & 0o777, 0o640);
    if (process.getuid?.() === 0) assert.deepEqual([uid, gid], [12, 34]);
  });

  it('leaves nothing half-written beside the files, and keeps its records from others', async () => {
    await using machine = await Machine.create({ [PATHS.docker]: '{}' });
    await machine.configure();
    assert.deepEqual(await readdir(dirname(machine.path(PATHS.docker))), ['daemon.json']);
    assert.equal((await stat(machine.path(STATE_FOLDER))).mode & 0o777, 0o700);
    for (const name of await readdir(machine.path(STATE_FOLDER))) {
      assert.equal((await stat(machine.path(`${STATE_FOLDER}/${name}`))).mode & 0o777, 0o600);
    }
  });
});

describe('host configure --runtime', () => {
  it('edits a named runtime even if it is not found', async () => {
    await using machine = await Machine.create();
    await machine.configure({}, ['containerd']);
    assert.match(await machine.read(PATHS.hosts), /4770/);
  });
});

describe('host configure: containerd', () => {
  it('writes below config_path, also if an imported file names it', async () => {
    await using machine = await Machine.create({
      [PATHS.containerdConfig]: 'version = 2\nimports = ["conf.d/*.toml"]\n',
      '/etc/containerd/conf.d/cri.toml': CONFIG_PATH,
    });
    const { lines } = await machine.configure({ registries: ['_default', 'ghcr.io'] });
    assert.ok(!lines.join('\n').includes('config_path is not set'), lines.join('\n'));
    for (const name of ['_default', 'ghcr.io']) {
      assert.deepEqual(plain(await machine.read(`/etc/docker/certs.d/${name}/hosts.toml`)), {
        host: { [MIRROR]: { capabilities: ['pull', 'resolve'], dial_timeout: '200ms' } },
      });
    }
  });

  it("says what to do if config_path is not set, in the syntax of the file's version", async () => {
    const cases: readonly (readonly [string | undefined, RegExp])[] = [
      [undefined, /^ {2}version = 2\n {2}\[plugins\."io\.containerd\.grpc\.v1\.cri"\.registry\]$/m],
      ['version = 2\n', /once \(.*\):\n {2}\[plugins\."io\.containerd\.grpc\.v1\.cri"\.registry\]$/m],
      ['version = 3\n', /once \(.*\):\n {2}\[plugins\."io\.containerd\.cri\.v1\.images"\.registry\]$/m],
    ];
    for (const [text, pattern] of cases) {
      await using machine = await Machine.create(
        text === undefined ? { '/usr/bin/containerd': '' } : { [PATHS.containerdConfig]: text },
      );
      const told = (await machine.configure()).lines.join('\n');
      assert.match(told, /config_path is not set.*restart containerd once/s);
      assert.match(told, pattern);
    }
  });

  it('says that containerd 2 reads no list of folders, unless it pulls in the old way', async () => {
    const told = async (more: string): Promise<string> => {
      const images = 'plugins."io.containerd.cri.v1.images"';
      const text = `version = 3\n[${images}]\n${more}\n[${images}.registry]\nconfig_path = "/etc/a:/etc/b"\n`;
      await using machine = await Machine.create({ [PATHS.containerdConfig]: text });
      const { lines } = await machine.configure();
      assert.match(await machine.read('/etc/b/_default/hosts.toml'), /4770/);
      return lines.join('\n');
    };
    assert.match(await told(''), /names several folders: .* Let it name \/etc\/b alone/);
    assert.doesNotMatch(await told('use_local_image_pull = true'), /several folders/);
    assert.doesNotMatch(await told('discard_unpacked_layers = true'), /several folders/);
  });

  it('says that old mirrors must be removed before config_path is set', async () => {
    await using machine = await Machine.create({
      [PATHS.containerdConfig]:
        'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]\nendpoint = ["https://mirror.gcr.io"]\n',
    });
    assert.match((await machine.configure()).lines.join('\n'), /must not stand beside config_path/);
  });

  it('explains discard_unpacked_layers', async () => {
    await using machine = await Machine.create({
      [PATHS.containerdConfig]: `${CONFIG_PATH}[plugins."io.containerd.grpc.v1.cri".containerd]\ndiscard_unpacked_layers = true\n`,
    });
    assert.match(
      (await machine.configure()).lines.join('\n'),
      /discard_unpacked_layers is true: .*its own copy/,
    );
  });

  it('puts the mirror behind others, and names registries with their own file', async () => {
    const own = '# ours\n\n# the company\'s\n[host."https://mirror.corp"]\n  skip_verify = true\n';
    await using machine = await Machine.create({
      [PATHS.containerdConfig]: 'version = 3\n',
      [PATHS.hosts]: own,
      '/etc/containerd/certs.d/quay.io/hosts.toml': own,
    });
    const { lines } = await machine.configure();
    const after = await machine.read(PATHS.hosts);
    assert.deepEqual(Object.keys(parseToml(after)['host'] ?? {}), ['https://mirror.corp', MIRROR]);
    assert.ok(own.split('\n').every((line) => after.includes(line)));
    assert.equal(await machine.read('/etc/containerd/certs.d/quay.io/hosts.toml'), own);
    assert.match(lines.join('\n'), /note: quay\.io: has a folder of its own below/);
  });

  it('--direct writes a file without a mirror, and leaves an existing file alone', async () => {
    const own = '[host."https://mirror.corp"]\n';
    await using machine = await Machine.create({
      [PATHS.containerdConfig]: 'version = 3\n',
      '/etc/containerd/certs.d/quay.io/hosts.toml': own,
    });
    await machine.configure({ direct: ['ghcr.io:443', 'quay.io', 'ghcr.io/org/weir'] });
    assert.deepEqual(plain(await machine.read('/etc/containerd/certs.d/ghcr.io:443/hosts.toml')), {});
    assert.equal(await machine.read('/etc/containerd/certs.d/quay.io/hosts.toml'), own);
  });
});

describe('host configure: podman and CRI-O', () => {
  interface Entry {
    readonly prefix?: string;
    readonly mirror?: readonly { readonly location: string }[];
  }

  it('keeps the places of a registry, each with the mirror in front that is asked for that place', async () => {
    await using machine = await Machine.create({
      [PATHS.containersMain]:
        '[[registry]]\nprefix = "docker.io"\nlocation = "hub.corp"\n[[registry.mirror]]\nlocation = "m.corp"\n',
      '/etc/containers/registries.conf.d/10.conf': '[[registry]]\nlocation = "quay.io"\nblocked = true\n',
    });
    await machine.configure({
      registries: ['docker.io', 'quay.io', 'ghcr.io'],
      direct: ['ghcr.io/org/weir'],
    });
    const file = parseToml(await machine.read(PATHS.containers)) as unknown as { registry: readonly Entry[] };
    assert.deepEqual(
      file.registry.map(({ prefix, mirror = [] }) => [prefix].concat(mirror.map(({ location }) => location))),
      [
        ['docker.io', '127.0.0.1:4770/m.corp', 'm.corp', '127.0.0.1:4770/hub.corp'],
        ['docker.io:443', 'm.corp:443'],
        ['ghcr.io', '127.0.0.1:4770/ghcr.io'],
        ['ghcr.io:443'],
        ['ghcr.io/org/weir'],
      ],
    );
  });

  it('leaves the old form alone, as podman refuses both forms together', async () => {
    await using machine = await Machine.create({
      [PATHS.containersMain]: '[registries.search]\nregistries = []\n',
    });
    const before = await machine.snapshot();
    assert.match((await machine.configure()).lines.join('\n'), /old form/);
    assert.deepEqual(await machine.snapshot(), before);
  });
});

describe('host configure: tags resolved at the registry', () => {
  const wish = { resolve: 'registry' } as const;

  it('lets containerd and podman ask the mirror for digests alone, and changes with the next run', async () => {
    await using machine = await Machine.create({
      [PATHS.containerdConfig]: '',
      [PATHS.containersMain]: '[[registry]]\nprefix = "quay.io"\nmirror-by-digest-only = true\n',
    });
    const { lines } = await machine.configure(wish);
    assert.match(
      lines.join('\n'),
      /podman and CRI-O pull an image through the mirror if it is named by its digest/,
    );
    assert.match(await machine.read(PATHS.hosts), /^ {2}capabilities = \["pull"\]$/m);
    const usage = async (): Promise<readonly unknown[]> => {
      const { registry } = parseToml(await machine.read(PATHS.containers)) as unknown as {
        registry: { prefix: string; mirror: { 'pull-from-mirror'?: string }[] }[];
      };
      // Beside mirror-by-digest-only podman refuses it. A name with its port has no mirror.
      return registry
        .filter(({ mirror }) => mirror !== undefined)
        .map(({ prefix, mirror }) => [prefix === 'quay.io', mirror[0]?.['pull-from-mirror']]);
    };
    for (const [isSaid, value] of (await usage()) as [boolean, string?][]) {
      assert.equal(value, isSaid ? undefined : 'digest-only');
    }
    await machine.configure();
    assert.match(await machine.read(PATHS.hosts), /capabilities = \["pull", "resolve"\]/);
    assert.ok((await usage()).every((each) => (each as unknown[])[1] === undefined));
  });

  it('leaves out Docker and registries.yaml of k3s, which cannot do that, and undoes earlier edits', async () => {
    const files = { [PATHS.docker]: '{}', [PATHS.k3s]: 'mirrors: {}\n' };
    await using machine = await Machine.create(files);
    await machine.configure();
    for (const [path, text] of Object.entries(files)) assert.notEqual(await machine.read(path), text);
    const { lines } = await machine.configure(wish);
    for (const [path, text] of Object.entries(files)) assert.equal(await machine.read(path), text);
    assert.match(lines.join('\n'), /docker: note: .* it is left without the mirror/);
    assert.match(lines.join('\n'), /k3s: note: .* that file is left alone/);
  });
});

describe('host configure: k3s', () => {
  it('writes registries.yaml and keeps its comments, and writes the files of the running containerd', async () => {
    const certs = '/var/lib/rancher/k3s/agent/etc/containerd/certs.d/_default/hosts.toml';
    await using machine = await Machine.create({
      [PATHS.k3s]: '# ours\nmirrors:\n  "*":\n    endpoint:\n      - https://mirror.corp # the company\n',
      '/var/lib/rancher/k3s/agent/etc/containerd/config.toml': '',
    });
    const before = await machine.snapshot();
    await machine.configure({}, ['k3s']);
    const text = await machine.read(PATHS.k3s);
    assert.match(
      text,
      /^# ours\n[^]*- https:\/\/mirror\.corp # the company\n +- http:\/\/127\.0\.0\.1:4770\n/,
    );
    assert.match(await machine.read(certs), /127\.0\.0\.1:4770/);
    await machine.restore();
    assert.deepEqual(await machine.snapshot(), before);
  });
});

describe('host restore', () => {
  it('does nothing if nothing was configured', async () => {
    await using machine = await Machine.create({ [PATHS.docker]: '{}' });
    const before = await machine.snapshot();
    assert.match((await machine.restore()).lines.join('\n'), /^nothing to restore/);
    assert.deepEqual(await machine.snapshot(), before);
  });

  it('keeps edits by hand, also between two configures, and takes out only our part', async () => {
    await using machine = await Machine.create({ [PATHS.containerdConfig]: 'version = 3\n' });
    await machine.configure();
    await machine.write(PATHS.hosts, `${await machine.read(PATHS.hosts)}# by hand\n`);
    assert.equal((await machine.configure()).changed, 1, 'the record now has the edit');
    assert.match(await machine.read(PATHS.hosts), /weir begin[^]*by hand|by hand[^]*weir begin/);
    await machine.restore();
    assert.equal(await machine.read(PATHS.hosts), '# by hand\n');
  });

  it('works even if another file of the runtime is malformed by now', async () => {
    await using machine = await Machine.create({ [PATHS.containerdConfig]: 'version = 3\n' });
    await machine.configure();
    await machine.write(PATHS.containerdConfig, 'bad [');
    const before = await machine.read(PATHS.containerdConfig);
    const { lines } = await machine.restore();
    assert.deepEqual(lines, [`containerd: ${PATHS.hosts}: removed`]);
    assert.equal(await machine.read(PATHS.containerdConfig), before);
  });

  it('does not bring back a file that was removed by hand', async () => {
    await using machine = await Machine.create({ [PATHS.docker]: '{}', '/srv/x': '' });
    await machine.configure();
    await rm(machine.path(PATHS.docker));
    await machine.restore();
    await assert.rejects(machine.read(PATHS.docker));
  });

  it('restores after a crash between the record and the file', async () => {
    await using machine = await Machine.create({ [PATHS.docker]: '{}' });
    const before = await machine.snapshot();
    await machine.configure();
    await machine.write(PATHS.docker, '{}'); // as if the file had never been written
    await machine.restore();
    assert.deepEqual(await machine.snapshot(), before);
  });

  it('restores byte for byte after a crash in a second configure', async () => {
    await using machine = await Machine.create({ [PATHS.docker]: '{   }' });
    const before = await machine.snapshot();
    await machine.configure();
    const first = await machine.read(PATHS.docker);
    await machine.configure({ mirrorUrl: 'http://127.0.0.1:4999' });
    await machine.write(PATHS.docker, first); // as if the second text had never been written
    await machine.restore();
    assert.deepEqual(await machine.snapshot(), before);
  });

  it('is done by configure for a registry that --registries no longer names', async () => {
    await using machine = await Machine.create({ [PATHS.containerdConfig]: 'version = 3\n' });
    await machine.configure({ registries: ['_default', 'ghcr.io'], direct: ['quay.io:443'] });
    await machine.configure({ registries: ['_default'] });
    assert.deepEqual(await readdir(machine.path('/etc/containerd/certs.d')), ['_default']);
  });

  it('restores one runtime alone, and works if the runtime is gone', async () => {
    await using machine = await Machine.create({ [PATHS.docker]: '{}', [PATHS.containerdConfig]: '' });
    await machine.configure();
    await machine.restore(['docker']);
    assert.equal(await machine.read(PATHS.docker), '{}');
    assert.match(await machine.read(PATHS.hosts), /4770/);
    await rm(machine.path(PATHS.containerdConfig));
    await machine.restore();
    await assert.rejects(machine.read(PATHS.hosts));
    await assert.rejects(stat(machine.path(STATE_FOLDER)));
  });

  it('names the record of a newer version, and restores what it can', async () => {
    await using machine = await Machine.create({ [PATHS.docker]: '{}' });
    await machine.configure();
    await machine.write(`${STATE_FOLDER}/x.json`, '{"version": 2}');
    const { failures } = await machine.restore();
    assert.match(
      failures.join('\n'),
      /^\/var\/lib\/weir-host\/x\.json is not a record of this version of Weir/,
    );
    assert.equal(await machine.read(PATHS.docker), '{}');
    await assert.rejects(machine.configure(), failsWith(/x\.json is not a record .*nothing was changed$/));
  });
});
