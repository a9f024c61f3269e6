/** `weir doctor` with nodes, a registry and a machine's files that are real: all well, and one fault at a time. */
import assert from 'node:assert/strict';
import { chmod, writeFile } from 'node:fs/promises';
import type { DoctorReport } from '../../src/cli/doctor/doctor.ts';
import { CertificateAuthority } from '../support/certificates.ts';
import { shared } from '../support/fixture.ts';
import { HttpServer } from '../support/http-server.ts';
import { run, type Result } from '../support/program.ts';
import { requires } from '../support/requires.ts';
import { TempDir } from '../support/temp.ts';
import { WeirCluster } from '../support/weir-cluster.ts';
import { WEIR, WeirNode, type RegistryEntry } from '../support/weir.ts';
import { Machine, PATHS } from '../unit/cli/runtimes/fixture.ts';

const PASSWORD = 'not-to-be-printed';
const OTHER_KEY = 'another key, of which the others do not know';
const CONFIG_PATH =
  'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "/etc/containerd/certs.d"\n';

requires('openssl')('weir doctor', () => {
  const lab = shared(async (stack) => {
    const dir = stack.use(await TempDir.create('doctor'));
    const authority = await CertificateAuthority.create(dir);
    const registry = stack.use(
      await HttpServer.start(
        ({ headers }, response) => {
          const isRight = headers.authorization === `Basic ${btoa(`ada:${PASSWORD}`)}`;
          response.writeHead(isRight ? 200 : 401, { 'www-authenticate': 'Basic realm="test"' }).end();
        },
        { tls: await authority.issue('127.0.0.1') },
      ),
    );
    const machine = stack.use(
      await Machine.create({ [PATHS.containerdConfig]: CONFIG_PATH, [PATHS.docker]: '{}' }),
    );
    await machine.configure();
    const cluster = stack.use(await WeirCluster.start(2));
    await chmod(cluster.keyFile, 0o600);
    return { dir, authority, registry, machine, cluster };
  });

  /** Examines a node, by default the second one of the cluster, which is told of the first. */
  async function examine(
    settings: Readonly<Record<string, string>> = {},
    entry: RegistryEntry = { 'ca-file': lab().authority.file },
    node: WeirNode = lab().cluster.node(1),
  ): Promise<{ readonly result: Result; readonly report: DoctorReport; wrong: () => readonly string[] }> {
    const { dir, registry, machine, cluster } = lab();
    const config = dir.join('config.yaml');
    const account = { username: 'ada', password: PASSWORD };
    await writeFile(config, JSON.stringify({ registries: { [registry.host]: { ...entry, ...account } } }));
    await chmod(config, 0o600);
    const flags = Object.entries({
      'data-dir': node.dataFolder,
      'store-runtime-content': 'none',
      'cluster-key-file': cluster.keyFile,
      'cluster-bootstrap': cluster.bootstrap,
      ...settings,
    }).flatMap(([name, value]) => [`--${name}`, value]);
    const where = [
      '--config',
      config,
      '--admin',
      new URL(node.adminUrl).host,
      '--host-root',
      machine.path('/'),
    ];
    const args = ['doctor', ...where, ...flags];
    const [result, asJson] = await Promise.all([run(WEIR, args), run(WEIR, [...args, '--json'])]);
    assert.equal(result.code, asJson.code);
    assert.ok(!`${result.stdout}${result.stderr}${asJson.stdout}`.includes(PASSWORD));
    const report = JSON.parse(asJson.stdout) as DoctorReport;
    const wrong = (): readonly string[] =>
      report.checks.filter(({ state }) => state === 'wrong').map(({ name }) => name);
    return { result, report, wrong };
  }

  it('finds nothing wrong where all is well', async () => {
    const { registry } = lab();
    const { result, report, wrong } = await examine();
    assert.deepEqual([result.code, result.stderr, wrong()], [0, '', []], result.stdout);
    assert.equal(report.counts.warning, 0, result.stdout);
    for (const line of [
      /^✔ node +.*: it serves$/m,
      /^✔ cluster key +\//m,
      /^✔ members +2 members, /m,
      /^✔ ports +both ports of 1 member accept connections$/m,
      new RegExp(`^✔ ${registry.host} +${registry.url} takes the configured credential$`, 'm'),
      /^✔ containerd +in place: \/etc\/containerd\/certs\.d\/_default\/hosts\.toml$/m,
      /^✔ clock +within [0-9] s of a registry$/m,
      /\n\nnothing is wrong: \d+ right, \d+ skipped\n$/,
    ]) {
      assert.match(result.stdout, line);
    }
  });

  it('tells another key by the port that answers', async () => {
    const { dir, cluster } = lab();
    const key = dir.join('other.key');
    await writeFile(key, OTHER_KEY, { mode: 0o600 });
    const settings = {
      'cluster.key-file': key,
      'cluster.bootstrap': cluster.bootstrap,
      'cluster.mdns': 'off',
    };
    await using stranger = await WeirNode.start({ settings });
    const { result, wrong } = await examine({ 'cluster-key-file': key }, undefined, stranger);
    assert.deepEqual([result.code, wrong()], [6, ['members']], result.stdout);
    assert.match(
      result.stdout,
      /^✘ members +this node alone, although cluster\.bootstrap names 1 other, and a port answers there\n +→ the cluster key is probably another one: compare sha256sum/m,
    );
    assert.ok(!result.stdout.includes(OTHER_KEY));
  });

  it('names a bootstrap name that does not resolve', async () => {
    const { result, wrong } = await examine({ 'cluster-bootstrap': 'weir.invalid:4772' });
    assert.deepEqual([result.code, wrong()], [6, ['bootstrap']], result.stdout);
    assert.match(
      result.stdout,
      /^✘ bootstrap +no address for weir\.invalid:4772 \([A-Z_]+\)\n +→ mend the name \(try: getent hosts NAME\)/m,
    );
  });

  it('names a registry whose authority is not known, and the setting for it', async () => {
    const { registry } = lab();
    const { result, wrong } = await examine({}, { 'plain-http': false });
    assert.deepEqual([result.code, wrong()], [6, [registry.host]], result.stdout);
    assert.match(
      result.stdout,
      /^✘ 127\.0\.0\.1:\d+ +https:\/\/127\.0\.0\.1:\d+: unable to verify .*\n +→ if its CA is your own, set registries\.127\.0\.0\.1:\d+\.ca-file$/m,
    );
    assert.match(result.stdout, /\n1 wrong, \d+ right/);
  });

  it('says that a node does not answer, and looks at all that does not need it', async () => {
    await using node = await WeirNode.start();
    await node.terminate();
    const { result, wrong } = await examine({}, undefined, node);
    assert.deepEqual([result.code, wrong()], [6, ['node']], result.stdout);
    assert.match(result.stdout, /^– members +the node does not answer$/m);
  });
});
