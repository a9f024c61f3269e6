/** A report of an order that is half done. */
import type { PreheatImageReport, PreheatReport } from '../../../src/status/preheat-report.ts';
import { nodesOf } from './scene.ts';

export function reportOf(more: Partial<PreheatReport> = {}): PreheatReport {
  const done: PreheatImageReport = { state: 'done', present_bytes: 3_145_728, size: 3_145_728 };
  const [one, two, three] = nodesOf(3).map(({ peer, name, zone }) => ({ peer, name, zone }));
  return {
    id: 'ab'.repeat(16),
    state: 'running',
    images: ['ghcr.io/org/app:v1', 'docker.io/library/alpine:3'],
    nodes: '3',
    starts: '2026-11-30T12:00:00.000Z',
    expires: '2026-11-30T18:00:00.000Z',
    keep_seconds: 86_400,
    chosen: 3,
    done: 1,
    skipped: 0,
    failed: 1,
    members: [
      { ...one, state: 'done', images: [done, done] },
      {
        ...two,
        state: 'pulling',
        images: [done, { state: 'pulling', present_bytes: 1_048_576, size: 3_145_728 }],
      },
      {
        ...three,
        state: 'failed',
        images: [
          done,
          {
            state: 'failed',
            present_bytes: 0,
            size: 0,
            reason: 'manifest_unknown: upstream has no \u001b[31mimage',
          },
        ],
      },
    ] as PreheatReport['members'],
    ...more,
  };
}
