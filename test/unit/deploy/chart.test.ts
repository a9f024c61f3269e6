/** The chart: rendered by the real Helm with several sets of values, and held against Kubernetes' schemas. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { arch } from 'node:process';
import { parse } from 'yaml';
import { CHART, parseManifests, runHelm, template, type Manifest } from '../../../deploy/helm.ts';
import { renderManifests } from '../../../deploy/manifests/render.ts';
import { SECOND } from '../../../src/util/clock.ts';
import { loadConfig } from '../../../src/config/load.ts';
import { typeProblems, validate } from '../../support/manifest-types.ts';

/** Arguments of helm by their purpose. */
const VALUE_SETS: Readonly<Record<string, readonly string[]>> = {
  defaults: [],
  'an old cluster': ['--kube-version', '1.28.0'],
  'a registry of its own': ['--set', 'image.repository=registry.example/weir'],
  'everything on': [
    ['--set', 'metrics.enabled=true,metrics.serviceMonitor.enabled=true,metrics.dashboard.enabled=true'],
    ['--set', 'metrics.rules.enabled=true,metrics.rules.labels.release=prometheus'],
    [
      '--set',
      'zone.from=nodeLabel,seLinuxOptions.type=spc_t,maxUnavailable=3,image.pullSecrets[0].name=pull',
    ],
    ['--set', 'hostSetup.runtimes={containerd,docker},hostSetup.direct={registry.example:5000}'],
    ['--set', 'config.tags.ttl=1m,podLabels.team=a,podAnnotations.b=c,serviceAccount.annotations.d=e'],
    ['--set', 'extraEnv[0].name=HTTPS_PROXY,extraEnv[0].value=http://proxy.example:3128'],
    ['--set', 'metrics.serviceMonitor.labels.release=prometheus'],
    ['--set', 'preheat.existingSecret=preheat-token'],
    [
      '--set',
      'config.registries.registry\\.example.username=u,config.registries.registry\\.example.password=p',
    ],
    ['--set', 'extraVolumes[0].name=registry,extraVolumes[0].secret.secretName=registry'],
    ['--set', 'extraVolumeMounts[0].name=registry,extraVolumeMounts[0].mountPath=/etc/weir/registry'],
    ['--set', 'extraEnv[1].name=TOKEN,extraEnv[1].valueFrom.secretKeyRef.name=a'],
    ['--set', 'extraEnv[1].valueFrom.secretKeyRef.key=b'],
  ].flat(),
  'everything off': [
    ['--set', 'networkPolicy.enabled=false,resourceQuota.enabled=false,hostSetup.enabled=false'],
    ['--set', 'runtimeContent.enabled=false,zone.from=none,priorityClassName=,tolerations=null'],
    ['--set', 'clusterKey.existingSecret=mine,image.digest=sha256:' + 'a'.repeat(64)],
    ['--set', 'configSecret.existingSecret=mine-too,configSecret.secretKey=weir.yaml'],
  ].flat(),
};

interface Versioned {
  readonly version: string;
}

interface Container {
  readonly args?: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly securityContext: Readonly<Record<string, unknown>>;
  readonly startupProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly livenessProbe?: Probe;
}

interface Probe {
  readonly httpGet: { readonly host?: string };
}

interface PodSpec {
  readonly automountServiceAccountToken: boolean;
  readonly initContainers?: readonly Container[];
  readonly containers: readonly Container[];
  readonly volumes: readonly { readonly name: string; readonly [source: string]: unknown }[];
}

function find(manifests: readonly Manifest[], kind: string, name: string): Manifest {
  const found = manifests.find((each) => each.kind === kind && each.metadata.name === name);
  assert.ok(found !== undefined, `${kind}/${name} is missing`);
  return found;
}

/** The pod of a DaemonSet or a Job. */
function podOf(manifest: Manifest): PodSpec {
  return (manifest['spec'] as { template: { spec: PodSpec } }).template.spec;
}

/** The key of the cluster, as the chart's Secret has it. */
function keyOf(manifests: readonly Manifest[]): string {
  return (find(manifests, 'Secret', 'weir-cluster-key')['data'] as { key: string }).key;
}

/** The configuration file that the chart's Secret holds. */
function configOf(manifests: readonly Manifest[]): string {
  const { stringData } = find(manifests, 'Secret', 'weir-config');
  return (stringData as { 'config.yaml': string })['config.yaml'];
}

/** Helm's package has a binary for this platform only. */
const describeChart = arch === 'x64' ? describe : describe.skip;

describeChart('chart', function () {
  this.timeout(60 * SECOND);
  const rendered = new Map<string, readonly Manifest[]>();

  before(async () => {
    for (const [name, args] of Object.entries(VALUE_SETS)) {
      rendered.set(name, parseManifests(await template(...args)));
    }
  });

  const of = (name: string): readonly Manifest[] => rendered.get(name) ?? [];

  it('passes helm lint', async () => {
    assert.match(await runHelm('lint', '--strict', CHART), /0 chart\(s\) failed/);
  });

  it("is valid by Kubernetes' schemas with every set of values, and holds no field that does not exist", async () => {
    const all = [...rendered.values()].flat();
    assert.ok(all.length > 40, `${all.length} manifests`);
    for (const manifest of all) await validate(manifest);
    assert.deepEqual(await typeProblems(all), []);
  });

  it('fails validation with an unknown field, a wrong type or a missing field', async () => {
    const whole = JSON.stringify(find(of('defaults'), 'DaemonSet', 'weir'));
    const broken = (from: string, to: string): Manifest => {
      assert.ok(whole.includes(from), from);
      return JSON.parse(whole.replace(from, to)) as Manifest;
    };
    const unknown = broken('"hostNetwork":true', '"hostNetwork":true,"hostNetwrok":true');
    const deep = broken('"drop":["ALL"]', '"drop":["ALL"],"dorp":[]');
    const problems = await typeProblems([unknown, deep]);
    assert.equal(problems.length, 2, problems.join('\n'));
    assert.match(problems[0] ?? '', /hostNetwrok/);
    assert.match(problems[1] ?? '', /dorp/);
    await assert.rejects(validate(broken('"hostNetwork":true', '"hostNetwork":"yes"')), /hostNetwork/);
    await assert.rejects(validate(broken('"name":"data","hostPath"', '"nmae":"data","hostPath"')), /name/);
    await assert.rejects(validate(broken('"selector":', '"selectr":')), /selector/);
  });

  it('refuses values that do not exist or are wrong, and says which', async () => {
    const refused = async (set: string, pattern: RegExp): Promise<void> =>
      assert.rejects(template('--set', set), pattern);
    await refused('ports.mirrr=1', /mirrr/);
    await refused('ports.mirror=high', /ports.*mirror|mirror.*integer/s);
    await refused('zone.from=moon', /zone/);
    await refused('maxUnavailable=0', /maxUnavailable/);
    await refused('metrics.serviceMonitor.enabled=true', /needs metrics.enabled/);
    await refused('metrics.rules.enabled=true', /needs metrics.enabled/);
    await refused(
      'config.tags.ttl=1m,configSecret.existingSecret=mine',
      /move the settings of config into it/,
    );
  });

  it('gives the pods the rights that they need, and no others', () => {
    for (const [name, manifests] of rendered) {
      for (const manifest of manifests) {
        if (manifest.kind !== 'DaemonSet' && manifest.kind !== 'Job') continue;
        const pod = podOf(manifest);
        assert.equal(pod.automountServiceAccountToken, false, name);
        const containers = [...(pod.initContainers ?? []), ...pod.containers];
        for (const container of containers) {
          const security = container.securityContext;
          assert.deepEqual(security['capabilities'], { drop: ['ALL'] });
          assert.equal(security['readOnlyRootFilesystem'], true);
          assert.equal(security['allowPrivilegeEscalation'], false);
        }
      }
    }
    assert.ok(of('defaults').every(({ kind }) => !kind.startsWith('Cluster')));
    const role = of('an old cluster').find(({ kind }) => kind === 'ClusterRole');
    assert.deepEqual(role?.['rules'], [{ apiGroups: [''], resources: ['nodes'], verbs: ['get'] }]);
  });

  it('lets the node, and no other container, bind a port below 1024 if it is configured', async () => {
    const own = parseManifests(await template('--set', 'ports.mirror=470,zone.from=nodeLabel'));
    const { initContainers = [], containers } = podOf(find(own, 'DaemonSet', 'weir'));
    const capabilities = (container: Container): unknown => container.securityContext['capabilities'];
    assert.deepEqual(containers.map(capabilities), [{ drop: ['ALL'], add: ['NET_BIND_SERVICE'] }]);
    assert.deepEqual(
      initContainers.map(capabilities),
      initContainers.map(() => ({ drop: ['ALL'] })),
    );
  });

  it('has the version of Weir', async () => {
    const { version } = JSON.parse(await readFile(join(CHART, '../../package.json'), 'utf8')) as Versioned;
    const chart = parse(await readFile(join(CHART, 'Chart.yaml'), 'utf8')) as Versioned & {
      appVersion: string;
    };
    assert.deepEqual([chart.version, chart.appVersion], [version, version]);
  });

  it("pulls Weir's own image without the mirror, by the registry's name with its port", () => {
    const direct = (name: string): string | undefined =>
      podOf(find(of(name), 'DaemonSet', 'weir'))
        .initContainers?.flatMap(({ args = [] }) => args)
        .find((arg) => arg.startsWith('--direct='));
    assert.equal(direct('defaults'), '--direct=ghcr.io:443/weir-p2p/weir,ghcr.io:443');
    assert.equal(
      direct('everything on'),
      '--direct=registry.example:5000,ghcr.io:443/weir-p2p/weir,ghcr.io:443',
    );
    assert.equal(direct('a registry of its own'), '--direct=registry.example/weir');
  });

  it('gives the node an environment that Weir accepts', async () => {
    for (const [name, manifests] of rendered) {
      const [container] = podOf(find(manifests, 'DaemonSet', 'weir')).containers;
      const values = container?.env?.map((each): [string, string] => [
        each.name,
        each.value ?? '10.0.0.1,fd00::1',
      ]);
      const env: Record<string, string> = Object.fromEntries(values ?? []);
      const config = name === 'everything off' ? '{}' : configOf(manifests);
      const readConfig = async (): Promise<string> => config;
      const zone = env['WEIR_NODE_ZONE'] === undefined ? {} : { WEIR_NODE_ZONE: 'zone-1' };
      const loaded = await loadConfig({
        env: { ...env, WEIR_NODE_NAME: 'node-1', ...zone },
        readFile: readConfig,
      });
      assert.deepEqual(loaded.warnings, [], name);
      assert.equal(loaded.config['cluster.bootstrap'].length, 1);
      if (name !== 'everything on') continue;
      assert.equal(loaded.config['tags.ttl'], 60 * SECOND);
      const [registry] = loaded.config.registries.values();
      assert.deepEqual(registry?.credential, { kind: 'basic', username: 'u', password: 'p' });
    }
  });

  it('always has the admin address on loopback, for `weir status` and the probes', async () => {
    const listen = async (...args: readonly string[]): Promise<string | undefined> => {
      const [container] = podOf(
        find(parseManifests(await template(...args)), 'DaemonSet', 'weir'),
      ).containers;
      for (const probe of [container?.startupProbe, container?.readinessProbe, container?.livenessProbe]) {
        assert.equal(probe?.httpGet.host, '127.0.0.1');
      }
      return container?.env?.find(({ name }) => name === 'WEIR_ADMIN_LISTEN')?.value;
    };
    const metrics = (address: string): Promise<string | undefined> =>
      listen('--set', `metrics.enabled=true,metrics.address=${address}`);
    assert.equal(await listen(), '127.0.0.1:4771');
    assert.equal(await listen('--set', 'metrics.enabled=true'), '127.0.0.1:4771,0.0.0.0:4771');
    assert.equal(await metrics('10.0.0.7'), '127.0.0.1:4771,10.0.0.7:4771');
    assert.equal(await metrics('127.0.0.1'), '127.0.0.1:4771');
    assert.equal(await metrics('[::]'), '127.0.0.1:4771,[::]:4771');
  });

  it('says in its notes how to verify it', async () => {
    const notes = async (...args: readonly string[]): Promise<string> =>
      (await runHelm('install', 'weir', CHART, '--namespace', 'own', '--dry-run=client', ...args)).split(
        'NOTES:',
      )[1] ?? '';
    assert.match(await notes(), /kubectl --namespace own exec daemonset\/weir -- weir status/);
    assert.match(await notes('--set', 'hostSetup.enabled=false'), /no runtime pulls through Weir until/);
  });

  it('makes a key for each installation that has none', async () => {
    const [first, second] = [keyOf(of('defaults')), keyOf(of('an old cluster'))];
    assert.equal(Buffer.from(Buffer.from(first, 'base64').toString('latin1'), 'base64').length, 32);
    assert.notEqual(first, second);
    assert.ok(of('everything off').every(({ kind }) => kind !== 'Secret'));
  });

  it('mounts extra volumes, and the configuration with mode 0400', () => {
    const volume = (set: string, name: string): unknown =>
      podOf(find(of(set), 'DaemonSet', 'weir')).volumes.find((each) => each.name === name)?.['secret'];
    const config = (secretName: string, key: string): unknown => ({
      secretName,
      defaultMode: 0o400, // in the plain manifests, too, which a reader of YAML 1.2 writes
      items: [{ key, path: 'config.yaml' }],
    });
    assert.deepEqual(volume('defaults', 'config'), config('weir-config', 'config.yaml'));
    assert.deepEqual(volume('everything off', 'config'), config('mine-too', 'weir.yaml'));
    assert.deepEqual(volume('everything on', 'registry'), { secretName: 'registry' });
  });

  it('equals the plain manifests (npm run manifests writes them)', async () => {
    for (const [name, text] of Object.entries(await renderManifests())) {
      assert.equal(await readFile(join(CHART, '../manifests', name), 'utf8'), text, name);
    }
  });
});
