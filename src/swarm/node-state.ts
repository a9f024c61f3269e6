/** What the policy keeps of a node over all its blobs, as it is when the node starts. */
import { Beat } from './turn-batcher.ts';
import { Budget } from './request-window.ts';
import { Distrust } from './registry-distrust.ts';
import { Doubts } from './missing-chunks.ts';
import { Pace } from './rtt-estimator.ts';
import type { Parameters } from './parameters.ts';
import type { Scheduler } from './scheduler.ts';
import type { Environment } from './environment.ts';
import { ReceiveBudget } from '../util/receive-budget.ts';

export type NodeState = Pick<
  Environment,
  | 'parameters'
  | 'scheduler'
  | 'acquainted'
  | 'slack'
  | 'mute'
  | 'distrust'
  | 'doubts'
  | 'pace'
  | 'budget'
  | 'room'
  | 'beat'
>;

export function nodeState(
  parameters: Parameters,
  scheduler: Scheduler,
  room: ReceiveBudget = new ReceiveBudget({ later: (callback) => void scheduler.after(0, callback) }),
): NodeState {
  return {
    parameters,
    scheduler,
    acquainted: new Set(),
    slack: new Map(),
    mute: new Map(),
    distrust: new Distrust(scheduler),
    doubts: new Doubts(scheduler),
    pace: {
      ack: new Pace(...parameters.ack),
      stall: new Pace(...parameters.stall),
      origin: new Pace(parameters.lag, Infinity, Infinity),
    },
    budget: new Budget(parameters, scheduler),
    room,
    beat: new Beat(scheduler, parameters.batch[0]),
  };
}
