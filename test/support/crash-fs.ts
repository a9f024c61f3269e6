/**
 * A process that dies at a chosen file operation: from that step on, every call that would change the disk fails and
 * changes nothing. The disk is left as `kill -9` leaves it.
 */
import fs from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

const FUNCTIONS = ['rename', 'rm', 'writeFile', 'mkdir', 'utimes'] as const;
const METHODS = ['write', 'writev', 'truncate'] as const;

type AnyFunction = (...parameters: unknown[]) => Promise<unknown>;
type Patched = Record<string, AnyFunction>;

export class Crashed extends Error {}

/**
 * Runs `work` in a process that dies at its `step`th change of the disk (0: the first one). Resolves with whether it
 * died.
 */
export async function dieAt(step: number, work: () => Promise<void>): Promise<boolean> {
  let left = step;
  let died = false;
  const guard = (original: AnyFunction): AnyFunction =>
    function (this: unknown, ...parameters: unknown[]): Promise<unknown> {
      if (left-- <= 0) {
        died = true;
        return Promise.reject(new Crashed('the process is dead'));
      }
      return original.apply(this, parameters);
    };
  const restore = await patch(guard);
  try {
    await work();
  } catch (error) {
    if (!died) throw error; // a dead process reports no error of the rest of the work
  } finally {
    restore();
  }
  return died;
}

async function patch(guard: (original: AnyFunction) => AnyFunction): Promise<() => void> {
  const handle = await open(import.meta.filename, 'r');
  const prototype = Object.getPrototypeOf(handle) as FileHandle & Patched;
  await handle.close();
  const promises = fs.promises as unknown as Patched;
  const undo: (() => void)[] = [];
  const replace = (target: Patched, name: string): void => {
    const original = target[name];
    if (original === undefined) throw new Error(`there is no ${name}`);
    target[name] = guard(original);
    undo.push(() => {
      target[name] = original;
    });
  };
  for (const name of FUNCTIONS) replace(promises, name);
  for (const name of METHODS) replace(prototype, name);
  syncBuiltinESMExports();
  return () => {
    for (const step of undo) step();
    syncBuiltinESMExports();
  };
}
