/** The policy's state of one node over all its blobs, as it is when the node starts. */
import { TurnBatcher } from './turn-batcher.ts';
import { RequestWindow } from './request-window.ts';
import { RegistryDistrust } from './registry-distrust.ts';
import { MissingChunks } from './missing-chunks.ts';
import { RttEstimator } from './rtt-estimator.ts';
import { WholeRegistries } from './whole-registries.ts';
import type { Parameters } from './parameters.ts';
import type { Scheduler } from './scheduler.ts';
import type { Environment } from './environment.ts';
import { ReceiveBudget } from '../util/receive-budget.ts';

export type NodeState = Pick<
  Environment,
  | 'parameters'
  | 'scheduler'
  | 'contacted'
  | 'strikes'
  | 'snubbed'
  | 'distrust'
  | 'wholeRegistries'
  | 'missing'
  | 'rtt'
  | 'requestWindow'
  | 'room'
  | 'batcher'
>;

export function nodeState(
  parameters: Parameters,
  scheduler: Scheduler,
  room: ReceiveBudget = new ReceiveBudget({ later: (callback) => void scheduler.after(0, callback) }),
): NodeState {
  return {
    parameters,
    scheduler,
    contacted: new Set(),
    strikes: new Map(),
    snubbed: new Map(),
    distrust: new RegistryDistrust(scheduler),
    wholeRegistries: new WholeRegistries(scheduler),
    missing: new MissingChunks(scheduler),
    rtt: {
      ack: new RttEstimator(...parameters.ackTimeout),
      stall: new RttEstimator(...parameters.stallTimeout),
      upstream: new RttEstimator(0, Infinity, Infinity),
    },
    requestWindow: new RequestWindow(parameters, scheduler),
    room,
    batcher: new TurnBatcher(scheduler, parameters.batchInterval[0]),
  };
}
