/** Errors as they cross from one thread to another: cloning would lose their class and their code. */
import { systemCode, toError, toWeirError, WeirError, type ErrorCode } from '../util/errors.ts';

export interface WireError {
  readonly message: string;
  /** Of a {@link WeirError}. */
  readonly code?: ErrorCode;
  readonly detail?: Readonly<Record<string, string | number>>;
  /** Of a system call: `ENOSPC`. */
  readonly system?: string | undefined;
}

export function toWireError(thrown: unknown): WireError {
  if (thrown instanceof WeirError) {
    const { message, code, detail, cause } = thrown;
    return { message, code, detail, system: systemCode(cause) };
  }
  return { message: toError(thrown).message, system: systemCode(thrown) };
}

/** A {@link WeirError} if it was one, else an error with the `code` of the system call. */
export function fromWireError({ message, code, detail, system }: WireError): Error {
  const cause = system === undefined ? undefined : Object.assign(new Error(message), { code: system });
  if (code === undefined) return cause ?? toWeirError(new Error(message));
  return new WeirError(code, message, { ...(detail && { detail }), ...(cause && { cause }) });
}
