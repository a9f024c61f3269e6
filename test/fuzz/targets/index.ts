/** All fuzz targets. */
import type { Target } from '../harness/target.ts';
import * as archive from './archive.ts';
import * as admin from './admin.ts';
import * as names from './names.ts';
import * as config from './config.ts';
import * as hostFiles from './host-files.ts';
import * as mirror from './mirror.ts';
import * as store from './store.ts';
import * as manifests from './manifest.ts';
import * as streams from './streams.ts';
import * as transfer from './transfer.ts';
import * as upstream from './upstream.ts';
import * as wire from './wire.ts';

export const TARGETS: readonly Target[] = [
  mirror,
  names,
  manifests,
  archive,
  upstream,
  wire,
  streams,
  transfer,
  store,
  config,
  hostFiles,
  admin,
].flatMap((part) => Object.values<Target>(part));
