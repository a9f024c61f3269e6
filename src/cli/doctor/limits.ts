/** Limits of the kernel: open files of the node, and inotify for the runtime's content. */
import { watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import type { Config } from '../../config/settings.ts';
import { errorMessage, systemCode } from '../../util/errors.ts';
import { ok, skipped, warning, wrong, type Check, type Finding } from './check.ts';
import { metricOf, type NodeFacts } from './facts.ts';

/** The program itself: threads, its catalog, modules, the log, pipes. */
const OWN_FILES = 128;
/** A member takes a libp2p connection and one of the peer wire. */
const FILES_PER_MEMBER = 2;
/** A request has the runtime's connection and the blob's file; a download its file and its map. */
const FILES_PER_REQUEST = 2;
/** What `weir.service` and the chart's runtimes give. */
const USUAL_LIMIT = 65_536;

export const openFiles: Check = {
  name: 'open files',
  run: async ({ loaded: { config }, facts }) => {
    const node = await facts.nodeIfAny();
    const limit = (node && metricOf(node, 'process_max_fds')) ?? (await ownLimit());
    if (limit === undefined) return skipped('the limit is not known on this system');
    return judgeFiles(limit, neededFiles(config, node), node && metricOf(node, 'process_open_fds'));
  },
};

/** If all that the settings allow happens at once. */
export function neededFiles(config: Config, node: NodeFacts | undefined): number {
  const requests = config['mirror.max-requests'] + config['pull.max-concurrent'];
  const registries = Math.max(1, config.registries.size);
  return (
    OWN_FILES +
    FILES_PER_REQUEST * requests +
    registries * config['upstream.max-connections'] +
    FILES_PER_MEMBER * (node?.status.cluster.members ?? 1)
  );
}

export function judgeFiles(limit: number, needed: number, used: number | undefined): Finding {
  const open = used === undefined ? '' : `, ${used} open in the node`;
  const found = `limit ${limit}, at most ${needed} needed${open}`;
  if (limit >= needed) return ok(found);
  return wrong(
    found,
    `raise it: LimitNOFILE=${USUAL_LIMIT} in the unit, --ulimit nofile=${USUAL_LIMIT} for Docker; or lower mirror.max-requests`,
  );
}

/** Of this process, if the node does not tell its own. Node.js has raised it to the hard limit. */
async function ownLimit(): Promise<number | undefined> {
  const text = await readFile('/proc/self/limits', 'utf8').catch(() => '');
  const [, limit] = /^Max open files +(\d+)/m.exec(text) ?? [];
  return limit === undefined ? undefined : Number(limit);
}

export const inotify: Check = {
  name: 'inotify',
  run: async ({ loaded: { config } }) => {
    if (config['store.runtime-content'] === 'none')
      return skipped('store.runtime-content is none: nothing is watched');
    const [instances, watches] = await Promise.all(['max_user_instances', 'max_user_watches'].map(limitOf));
    const limits = `limits: ${instances ?? 'unknown'} instances, ${watches ?? 'unknown'} watches for each user`;
    const problem = tryToWatch();
    if (problem === undefined) return ok(limits);
    const key = problem === 'ENOSPC' ? 'max_user_watches=524288' : 'max_user_instances=1024';
    return warning(
      `no folder can be watched (${problem}; ${limits}): the runtime's content is read each minute instead`,
      `sysctl -w fs.inotify.${key}, and the same in /etc/sysctl.d`,
    );
  },
};

async function limitOf(name: string): Promise<string | undefined> {
  return (await readFile(`/proc/sys/fs/inotify/${name}`, 'utf8').catch(() => undefined))?.trim();
}

/** The limits are for all programs of a user, so only a try tells whether one more fits. */
function tryToWatch(): string | undefined {
  try {
    watch(tmpdir(), { persistent: false }).close();
    return undefined;
  } catch (error) {
    return systemCode(error) ?? errorMessage(error);
  }
}
