/**
 * k3s and RKE2: they write containerd's hosts files from `registries.yaml` when they start. Weir writes both:
 * `registries.yaml` for the next start, and the hosts files for now, which saves a restart.
 */
import { posix } from 'node:path';
import { commandLineOf, optionOf, proxyNotes } from './command-line.ts';
import { editing } from './edit.ts';
import { planHosts } from './hosts-folders.ts';
import type { HostFiles } from '../../host/host-files.ts';
import { dataFolderOf, registriesYamlEdit, registriesYamlNotes } from './registries-yaml.ts';
import { ALL_REGISTRIES, existsAny, programPaths, type Detect, type Runtime } from './target.ts';

/** The name of a registry in `registries.yaml`. */
export function yamlName(registry: string): string {
  return registry === ALL_REGISTRIES ? '*' : registry;
}

function detectRancher(runtime: Runtime & ('k3s' | 'rke2')): Detect {
  return async (files, wish, isNamed) => {
    const folder = `/etc/rancher/${runtime}`;
    const command = await commandLineOf(files, runtime);
    const data =
      optionOf(command, ['--data-dir', '-d']).at(-1) ??
      (await configuredFolder(files, posix.join(folder, 'config.yaml'))) ??
      `/var/lib/rancher/${runtime}`;
    if (!isNamed && !(await existsAny(files, [folder, data, ...programPaths(runtime)]))) return undefined;
    const names = wish.registries.map(yamlName);
    const generated = posix.join(data, 'agent/etc/containerd/certs.d');
    const isRunning = await files.exists(posix.join(data, 'agent/etc/containerd/config.toml'));
    const hosts = isRunning
      ? await planHosts(files, [generated], wish)
      : { targets: [], others: [], notes: [] };
    // They are written anew at each start: where that fails, registries.yaml is what counts.
    const targets = hosts.targets.map((target) => ({ ...target, isOptional: true }));
    if (wish.resolve === 'registry') {
      const note =
        `--resolve registry: ${runtime} makes mirrors of registries.yaml that are asked for tags, too, so that file is left alone; ` +
        `each start of ${runtime} removes ${generated}, and its pulls are direct until this command has run again`;
      return { runtime, targets, others: hosts.others, notes: [note, ...hosts.notes] };
    }
    const path = posix.join(folder, 'registries.yaml');
    const text = await files.read(path);
    return {
      runtime,
      targets: [
        {
          path,
          edit: registriesYamlEdit(wish.mirrorUrl, names),
          takesEffect: `when ${runtime} starts again`,
        },
        ...targets,
      ],
      others: hosts.others,
      notes: [
        ...editing(path, () => registriesYamlNotes(text ?? '', names, wish.mirrorUrl)),
        isRunning
          ? `${runtime} writes ${generated} anew when it starts: until then the files there hold, from then on registries.yaml`
          : `${runtime} has not run here yet: it reads registries.yaml when it starts`,
        ...proxyNotes(command),
      ],
    };
  };
}

async function configuredFolder(files: HostFiles, path: string): Promise<string | undefined> {
  const text = await files.read(path);
  return text === undefined ? undefined : editing(path, () => dataFolderOf(text));
}

export const detectK3s: Detect = detectRancher('k3s');
export const detectRke2: Detect = detectRancher('rke2');
