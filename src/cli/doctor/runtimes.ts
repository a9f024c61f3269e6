/** The runtimes of this machine are pointed at the mirror: as `weir host configure` left them, and as they read it. */
import { execFile } from 'node:child_process';
import { posix } from 'node:path';
import { formatListenAddress, type ListenAddress } from '../../config/kinds.ts';
import type { Config } from '../../config/settings.ts';
import { SECOND } from '../../util/clock.ts';
import { assertNever, isWeirError } from '../../util/errors.ts';
import { dumpedConfigPath, DEFAULT_HOSTS } from '../runtimes/containerd-config.ts';
import { containerdState, type ContainerdState } from '../runtimes/containerd.ts';
import { HostFiles } from '../runtimes/host-files.ts';
import type { RuntimeSurvey } from '../runtimes/survey.ts';
import { DEFAULT_MIRROR, type Runtime } from '../runtimes/target.ts';
import {
  AS_ROOT,
  count,
  mirrorUrlOf,
  isRoot,
  ok,
  skipped,
  warning,
  wrong,
  type Check,
  type DoctorContext,
  type Finding,
} from './check.ts';

/** Milliseconds; it takes some tenths of a second. */
const DUMP_TIMEOUT = 3 * SECOND;
/** Bytes; it prints some 20 KiB. */
const MAX_DUMP = 2 ** 20;

const NAMES: Readonly<Record<Runtime, string>> = {
  containerd: 'containerd',
  docker: 'Docker',
  containers: 'podman, CRI-O',
  k3s: 'k3s',
  rke2: 'RKE2',
};

const CONFIGURE = 'weir host configure';

export const runtimeChecks: readonly Check[] = (Object.keys(NAMES) as Runtime[]).map((runtime) => ({
  name: NAMES[runtime],
  run: async (context) => {
    const { facts, host, loaded, signal } = context;
    try {
      const survey = await facts.survey();
      const own = survey.runtimes.find((each) => each.runtime === runtime);
      const finding = judge(own, survey.isConfigured, loaded.config);
      if (runtime !== 'containerd' || finding.state !== 'ok') return finding;
      return (await asContainerdReads(host, own?.files ?? [], signal)) ?? finding;
    } catch (error) {
      if (!isWeirError(error, 'runtime_config')) throw error;
      return unreadable(error.message);
    }
  },
}));

/** The records by which the files are compared, and given back. */
export const hostRecords: Check = {
  name: 'weir host',
  run: async ({ facts }) => {
    const { isConfigured, written, problems } = await facts.survey();
    const [problem, ...more] = problems;
    if (problem !== undefined) return unreadable([problem, ...more].join('; '));
    if (isConfigured !== true) return skipped('weir host configure has written nothing here');
    return ok(`it has written ${count(written, 'file')} here`);
  },
};

/**
 * @param isConfigured whether `weir host configure` was run here; undefined: this user may not see that
 */
export function judge(
  survey: RuntimeSurvey | undefined,
  isConfigured: boolean | undefined,
  config: Config,
): Finding {
  const configure = configureCommand(config);
  const { placement = 'absent', files = [], mirrors = [], reasons = [] } = survey ?? {};
  switch (placement) {
    case 'absent':
      return skipped('not on this machine');
    case 'placed': {
      const lost = mirrors.find((url) => !isAt(url, config['mirror.listen']));
      if (lost === undefined) return ok(`in place: ${files.join(', ')}`);
      const places = config['mirror.listen'].map(formatListenAddress).join(', ');
      return wrong(
        `${files.join(', ')}: the mirror is looked for at ${lost}, and mirror.listen is ${places}`,
        configure,
      );
    }
    case 'drifted':
      return wrong(`drifted: ${files.join(', ')} does not name the mirror any more`, configure);
    case 'unknown':
      return unreadable(reasons.join('; '));
    case 'missing': {
      const why = reasons.length > 0 ? ` (${reasons.join('; ')})` : '';
      const found = `not configured: its pulls go past Weir${why}`;
      // An administrator who has configured others may have left this one out on purpose.
      return isConfigured === false ? wrong(found, configure) : warning(found, configure);
    }
    default:
      return assertNever(placement);
  }
}

/** With the mirror's address, if that is not the usual one. */
function configureCommand(config: Config): string {
  const url = mirrorUrlOf(config);
  return url === DEFAULT_MIRROR ? CONFIGURE : `${CONFIGURE} --mirror-url ${url}`;
}

/** The host may be another name of the same place; port 0 is any. */
function isAt(url: string, listening: readonly ListenAddress[]): boolean {
  const { port, protocol } = new URL(url);
  const number = Number(port || (protocol === 'https:' ? 443 : 80));
  return listening.some((address) => address.port === number || address.port === 0);
}

function unreadable(message: string): Finding {
  if (!isRoot() && message.includes('run this as root')) return skipped(message, AS_ROOT);
  return wrong(message, `mend the file, then ${CONFIGURE}`);
}

/** Undefined if containerd reads the files that name the mirror. */
async function asContainerdReads(
  host: DoctorContext['host'],
  placed: readonly string[],
  signal: AbortSignal,
): Promise<Finding | undefined> {
  const state = await containerdState(new HostFiles(host.root));
  const dumped = host.root === '/' ? await dumpOf(state.file, signal) : undefined;
  return judgeContainerd(state, dumped, placed);
}

/** @param dumped `config_path` as `containerd config dump` has it; undefined: the program cannot be asked */
export function judgeContainerd(
  { file, configPath, problems }: ContainerdState,
  dumped: { readonly configPath: readonly string[] | undefined } | undefined,
  placed: readonly string[],
): Finding | undefined {
  const read = dumped === undefined ? configPath : dumped.configPath;
  if (read === undefined) {
    return wrong(
      `config_path is not set: containerd reads no hosts.toml, so its pulls go past Weir`,
      `set config_path = "${DEFAULT_HOSTS}" in ${file} (weir host configure shows the lines), then restart containerd once`,
    );
  }
  const isRead = placed.some((path) => read.includes(posix.dirname(posix.dirname(path))));
  if (!isRead) {
    return wrong(
      `drifted: containerd reads ${read.join(':')}, and the mirror is in ${placed.join(', ')}`,
      CONFIGURE,
    );
  }
  const [problem, ...more] = problems;
  if (problem === undefined) return undefined;
  return warning([problem, ...more].join('; '), 'see docs/operations.md, "What weir host configure does"');
}

/** What containerd makes of all of its files and its own defaults. Undefined if it cannot be run here. */
export async function dumpOf(
  file: string,
  signal: AbortSignal,
): Promise<{ readonly configPath: readonly string[] | undefined } | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const limits = { timeout: DUMP_TIMEOUT, maxBuffer: MAX_DUMP, signal };
  execFile('containerd', ['--config', file, 'config', 'dump'], limits, (error, stdout) =>
    resolve(error === null ? stdout : undefined),
  );
  const text = await promise;
  return text === undefined ? undefined : { configPath: dumpedConfigPath(text) };
}
