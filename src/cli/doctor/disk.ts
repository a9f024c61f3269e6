/** The data folder: it can be written, and the disk has room for what the quota allows. */
import { access, constants, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DISK_RESERVE } from '../../store/disk.ts';
import { quotaOn } from '../../store/space.ts';
import { errorMessage, systemCode } from '../../util/errors.ts';
import { formatBytes } from '../client/format.ts';
import { AS_ROOT, isRoot, ok, skipped, warning, wrong, type Check, type Finding } from './check.ts';
import { metricOf } from './facts.ts';

const OTHER_FOLDER = 'mend the folder, or choose another one with data.dir';

/** What is known of the store and its disk; bytes. */
export interface DiskFacts {
  readonly folder: string;
  readonly free: number;
  readonly quota: number;
  /** Undefined if the node does not answer. */
  readonly used: number | undefined;
}

export const disk: Check = {
  name: 'disk',
  run: async ({ loaded: { config }, facts }) => {
    const folder = config['data.dir'];
    const place = await existing(folder);
    try {
      if (!(await stat(place)).isDirectory()) return wrong(`${place} is no folder`, OTHER_FOLDER);
      await access(place, constants.W_OK | constants.X_OK);
    } catch (error) {
      if (systemCode(error) === 'EACCES' && !isRoot())
        return skipped(`${place} may not be written by this user`, AS_ROOT);
      return wrong(`${folder} cannot be written: ${systemCode(error) ?? errorMessage(error)}`, OTHER_FOLDER);
    }
    const found = await statfs(place);
    const node = await facts.nodeIfAny();
    const stored = node && metricOf(node, 'weir_store_bytes');
    const partial = node && metricOf(node, 'weir_store_partial_bytes');
    return judgeDisk({
      folder: place === folder ? folder : `${folder} (not there yet)`,
      free: found.bavail * found.bsize,
      quota:
        (node && metricOf(node, 'weir_store_quota_bytes')) ??
        quotaOn(found.blocks * found.bsize, config['store.quota']),
      used: stored === undefined ? undefined : stored + (partial ?? 0),
    });
  },
};

export function judgeDisk({ folder, free, quota, used }: DiskFacts): Finding {
  const room = Math.max(0, free - DISK_RESERVE);
  const has = `${folder}: ${formatBytes(free)} free, quota ${formatBytes(quota)}`;
  if (room === 0) {
    return wrong(
      `${has}; Weir leaves ${formatBytes(DISK_RESERVE)} to other programs, so blobs pass through and are not kept`,
      'free the disk, or choose another one with data.dir',
    );
  }
  const whole = used === undefined ? has : `${has}, ${formatBytes(used)} of it used`;
  if (used !== undefined && room < quota - used)
    return warning(`${whole}: the disk is full before the quota is`, 'lower store.quota, or free the disk');
  return ok(whole);
}

/** The folder, or the nearest one above it that exists: the node makes the rest. */
async function existing(folder: string): Promise<string> {
  for (let place = folder; ; place = dirname(place)) {
    try {
      await stat(place);
      return place;
    } catch (error) {
      if (systemCode(error) !== 'ENOENT' || place === dirname(place)) return place;
    }
  }
}
