import assert from 'node:assert/strict';
import { renderTransferReport, type TransferReport } from '../../../../bench/transfer/report.ts';
import { spread } from '../../../simulator/stats.ts';
import { MIB } from '../../../../src/util/clock.ts';

describe('bench/transfer/report', () => {
  it('shows each case, and the facts of the machine', () => {
    const facts = { cpu: 'CPU', cores: 2, memory: 2 ** 34, kernel: 'Linux', node: 'v26', loadBefore: 0.25 };
    const figures = {
      sender: spread([1, 2, 3]),
      receiver: spread([0.5]),
      main: spread([0.0125]),
      rate: spread([812.4]),
    };
    const report: TransferReport = {
      question: 'transfer',
      startedAt: '2026-01-01',
      repeat: 3,
      machine: { ...facts, programs: {} },
      stolen: 0.015,
      cases: [
        { secure: true, receiverKind: 'weir', piece: 4 * MIB, resident: spread([100 * MIB]), ...figures },
        { secure: false, receiverKind: 'undici', piece: 2 * MIB, resident: spread([90 * MIB]), ...figures },
      ],
    };
    const text = renderTransferReport(report);
    assert.match(
      text,
      /TLS 1\.3 +4 MiB +2\.00 \(1\.00 to 3\.00\) +0\.50 \(0\.50 to 0\.50\) +0\.013 +2\.50 +812 +100 MiB +weir/,
    );
    assert.match(text, /plain TCP +2 MiB .* 90 MiB +undici/);
    assert.match(text, /2 cores, Linux, Node v26; load before 0\.3, 1\.5% stolen; 3 turns/);
  });
});
