/** The content folders of the runtimes on this node, from which it serves. */
import { systemClock } from '../util/clock.ts';
import type { Files } from '../bytes/files.ts';
import type { Config } from '../config/settings.ts';
import type { FsStore } from '../store/fs-store.ts';
import { RuntimeContent } from '../store/runtime-content.ts';
import type { Announcements } from './announcements.ts';
import type { Logger } from './logger.ts';

/** The content folders of containerd and of dockerd's own containerd, unless their `root` is set. */
const CONTENT_FOLDERS = [
  '/var/lib/containerd/io.containerd.content.v1.content',
  '/var/lib/docker/containerd/daemon/io.containerd.content.v1.content',
];

interface RuntimeSurroundings {
  readonly store: FsStore;
  readonly files: Files;
  readonly logger: Logger;
  readonly announced: () => Announcements | undefined;
}

export function runtimeRoots(setting: Config['store.runtime-content']): readonly string[] {
  if (setting === 'none') return [];
  return setting === 'auto' ? CONTENT_FOLDERS : setting;
}

export function openRuntime(
  root: string,
  { store, files, logger, announced }: RuntimeSurroundings,
): Promise<RuntimeContent> {
  return RuntimeContent.open({
    root,
    clock: systemClock,
    files,
    onRemoved: ({ digest }) => announced()?.remove(digest),
    onAdded: ({ digest }) => {
      announced()?.add(digest);
      if (store.keeper.isPinned(digest)) return; // the runtime may drop its own
      // The runtime has the blob now: one copy on the disk is enough.
      store
        .delete(digest)
        .catch((error: unknown) => logger.warn({ err: error, digest }, 'cannot drop own copy'));
    },
    onProblem: (message) => logger.warn(message),
  });
}
