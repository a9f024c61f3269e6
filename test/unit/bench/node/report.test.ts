import assert from 'node:assert/strict';
import { renderReport, type Figures, type NodeReport } from '../../../../bench/node/report.ts';
import { targetsOf } from '../../../../bench/node/targets.ts';
import { pair, spread } from '../../../simulator/stats.ts';

const FIGURES: Figures = {
  cold: {
    setups: [
      { setup: 'loopback', seconds: pair([1, 1, 1], [1.5, 1.4, 1.6]), nodeCpu: spread([2]) },
      { setup: 'slow', limits: { target: 1.03 }, seconds: pair([2], [2.06]), nodeCpu: spread([2]) },
      {
        setup: 'fast',
        limits: { target: 1.15, aim: 1.05 },
        seconds: pair([1], [1.2]),
        nodeCpu: spread([2]),
      },
    ],
    leftOut: ['on the moon: no rocket'],
  },
  warm: {
    rate: pair([1000], [700]),
    cpu: pair([1], [2]),
    serverBusy: pair([1], [1]),
    readerBusy: pair([1], [1]),
  },
  memory: { idle: spread([101]), cold: spread([150]), warm: spread([140]), idleAgain: spread([120]) },
};

function reportOf(figures: Figures): NodeReport {
  const facts = { cpu: 'CPU', cores: 2, memory: 2 ** 34, kernel: 'Linux', node: 'v26', loadBefore: 0 };
  const machine = { ...facts, programs: { nginx: '1.2' } };
  const targets = targetsOf(figures);
  return { question: 'node', startedAt: '2026-01-01', repeat: 3, machine, stolen: 0.1, targets, ...figures };
}

describe('bench/node/report', () => {
  it('compares the medians with the targets', () => {
    const reached = targetsOf(FIGURES).map((target) => [target.name, target.value, target.reached]);
    assert.deepEqual(reached, [
      ['cold pull, slow', 1.03, true],
      ['cold pull, fast', 1.2, false],
      ['warm hit', 0.7, false],
      ['idle memory, MiB', 101, true],
      ['memory of 8 pulls, MiB', 150, true],
    ]);
  });

  it('shows targets beside the figures, the aim, and skipped measurements', () => {
    const text = renderReport(reportOf(FIGURES));
    assert.match(text, /^loopback, s .* 1\.50 \(1\.40–1\.60\)$/m);
    assert.match(text, /^slow, s .* 1\.03 \(1\.03–1\.03\) {2}≤ 1\.03 reached$/m);
    assert.match(text, /^fast, s .* {2}≤ 1\.15 not reached \(aim 1\.05 not reached\)$/m);
    assert.match(text, /^throughput, MiB\/s .* ≥ 0\.8 not reached \(aim 1 not reached\)$/m);
    assert.match(text, /^idle +101 \(101–101\) +≤ 115 reached \(aim 100 not reached\)$/m);
    assert.match(text, /^left out: cold pull, on the moon: no rocket$/m);
  });

  it('shows only measured figures', () => {
    const { memory } = FIGURES;
    assert.ok(memory);
    assert.doesNotMatch(renderReport(reportOf({ memory })), /COLD|WARM HIT|FIRST BYTE|LATE|PROFILE/);
  });
});
