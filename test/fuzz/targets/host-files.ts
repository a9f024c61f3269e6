/** Configuration files of the runtimes on this machine: anybody may have written them. */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import type { ErrorCode } from '../../../src/util/errors.ts';
import { daemonJsonEdit, parseDaemonJson } from '../../../src/cli/runtimes/daemon-json.ts';
import { EditError, editing, type Edit } from '../../../src/cli/runtimes/edit.ts';
import { directTomlEdit, hostsTomlEdit } from '../../../src/cli/runtimes/hosts-toml.ts';
import { registriesYamlEdit } from '../../../src/cli/runtimes/registries-yaml.ts';
import { parseToml } from '../../../src/cli/runtimes/toml-block.ts';
import { Machine, MIRROR, PATHS } from '../../unit/cli/runtimes/fixture.ts';
import { pure, settledUnlessRefused, unlessRefused, type Target } from '../harness/target.ts';
import { YAML_LIMIT } from './samples.ts';

const CODES: readonly ErrorCode[] = ['runtime_config'];

/** Every edit either refuses the file, or adds our part once, and removes it again. */
function check(edit: Edit, text: string, holdsOurs: (text: string) => boolean): void {
  const added = unlessRefused(CODES, () => editing('/file', () => edit.add(text)));
  if (added === undefined) return;
  assert.ok(holdsOurs(added), 'our part is not in it');
  assert.equal(edit.add(added), added, 'a second time it is changed again');
  const own = unlessRefused(CODES, () => editing('/file', () => edit.remove(text, text)));
  if (holdsOurs(own ?? '')) return; // written there by hand: it is not ours
  const removed = unlessRefused(CODES, () => editing('/file', () => edit.remove(added, text)));
  if (removed !== undefined) assert.ok(!holdsOurs(removed), 'our part stays');
}

export const hostsToml = pure({
  name: 'hosts-toml',
  share: 10,
  limit: 1000, // the file is parsed again for each place that is tried
  seeds: [
    'server = "https://registry-1.docker.io"\n\n# mine\n[host."https://mirror.example"]\n  capabilities = ["pull"]\n',
    '[host]\n[host."http://a".header]\nx = """\n[host."b"]\n"""\r\n',
    '# weir begin: written by hand\n[host."http://127.0.0.1:4770"]\n# weir end\n',
    '',
  ],
  words: [
    '[host."',
    '"]\n',
    '# weir begin: x\n',
    '# weir end\n',
    '"""',
    "'''",
    'server = ',
    '[[host]]\n',
    '\r\n',
    'a.b.c = ',
    `[host."${MIRROR}"]\n`,
  ],
  run: (input) => {
    const text = input.toString('utf8');
    for (const resolve of ['mirror', 'registry'] as const)
      check(hostsTomlEdit({ mirrorUrl: MIRROR, resolve }, 'quay.io'), text, hasHost);
    const direct = directTomlEdit();
    direct.remove(direct.add(text), text);
  },
});

/** In any spelling. */
function hasHost(text: string): boolean {
  try {
    const { host } = parseToml(text);
    return typeof host === 'object' && MIRROR in host;
  } catch (error) {
    if (error instanceof EditError) return false;
    throw error;
  }
}

export const daemonJson = pure({
  name: 'daemon-json',
  // The library rewrites the whole line, with a separate edit for each number on it: quadratic for 64 KiB on one
  // line.
  limit: 15_000,
  seeds: [
    '{\n  "registry-mirrors": ["https://mirror.example"],\n  "log-driver": "json-file"\n}\n',
    '{"registry-mirrors":[],"a":{"b":[1,2,{"c":null}]}}',
    '\t{\r\n\t"debug": true\r\n\t}',
    '{}',
  ],
  words: [
    '"registry-mirrors":',
    '[',
    ']',
    '{',
    '}',
    ',',
    `"${MIRROR}"`,
    `"${MIRROR}/"`,
    '//x\n',
    '/*',
    '"__proto__":',
    '\\u0041',
  ],
  run: (input) => {
    const text = input.toString('utf8');
    check(daemonJsonEdit(MIRROR), text, (file) => {
      const { 'registry-mirrors': mirrors } = file.trim() === '' ? {} : parseDaemonJson(file);
      return Array.isArray(mirrors) && mirrors.some((each) => String(each).replace(/\/$/, '') === MIRROR);
    });
  },
});

export const registriesYaml = pure({
  name: 'registries-yaml',
  share: 4,
  limit: YAML_LIMIT,
  seeds: [
    'mirrors:\n  "*":\n    endpoint:\n      - https://mirror.example\nconfigs:\n  a.b:\n    auth: {username: x}\n',
    'mirrors: {docker.io: {endpoint: ["https://a"]}}\n',
    '# only this\n',
    'mirrors:\n',
    'x: &a {endpoint: [b]}\nmirrors:\n  "*": *a\n',
  ],
  words: [
    'mirrors:\n',
    '  "*":\n',
    '    endpoint:\n',
    `      - ${MIRROR}\n`,
    '&a ',
    '*a',
    '<<: ',
    '---\n',
    '...\n',
    '? ',
    '!!set ',
    '{}',
    '[]',
  ],
  run: (input) => {
    check(registriesYamlEdit(MIRROR, ['*']), input.toString('utf8'), (file) => file.includes(MIRROR));
  },
});

/** Separates the files of one machine. */
const BETWEEN = '\n~\n';
const FILES = [PATHS.containerdConfig, PATHS.hosts, PATHS.docker, PATHS.containersMain, PATHS.k3s];

export const machine: Target = {
  name: 'machine',
  share: 2,
  isPure: false,
  limit: 5000, // dozens of files are written and flushed
  seeds: [
    [
      'version = 2\nimports = ["/etc/containerd/conf.d/*.toml"]\n[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "/etc/containerd/certs.d"\n',
      'server = "https://a.example"\n',
      '{"registry-mirrors": ["https://a.example"]}',
      'unqualified-search-registries = ["docker.io"]\n[[registry]]\nprefix = "docker.io"\nlocation = "a.example"\n[[registry.mirror]]\nlocation = "b.example"\n',
      'mirrors:\n  "*":\n    endpoint: ["https://a.example"]\n',
    ].join(BETWEEN),
    [
      '[registries.search]\nregistries = ["docker.io"]\n',
      '',
      '{}',
      '[[registry]]\nlocation = "ghcr.io"\nblocked = true\n',
      '',
    ].join(BETWEEN),
  ],
  words: [
    BETWEEN,
    'imports = ["/etc/containerd/*"]\n',
    'config_path = "',
    '[[registry]]\n',
    'prefix = "docker.io"\n',
    '[[registry.mirror]]\n',
    '../',
    '"/etc/../..',
  ],
  open: async () => async (input) => {
    await using host = await Machine.create({});
    const texts = input.toString('utf8').split(BETWEEN);
    for (const [index, path] of FILES.entries()) await host.write(path, texts[index] ?? '');
    await host.write('/usr/bin/dockerd', '');
    const before = await host.snapshot();
    const done = await settledUnlessRefused(CODES, () => host.configure());
    if (done === undefined) {
      assert.deepEqual(await host.snapshot(), before, 'it was refused, and something was written');
      return;
    }
    await host.restore();
    assert.deepEqual(await host.snapshot(), before, 'it does not come back byte for byte');
    await rm(host.path('/etc'), { recursive: true });
  },
};
