/** A fixture that the tests of one `describe` share: made before the first of them, ended after the last. */

/** Registers the hooks and returns a getter for the fixture. The resources that `make` gives to the stack are ended. */
export function shared<T>(make: (stack: AsyncDisposableStack) => Promise<T>): () => T {
  let stack = new AsyncDisposableStack();
  let value: T | undefined;
  before(async () => {
    await using building = new AsyncDisposableStack();
    value = await make(building);
    stack = building.move();
  });
  after(async () => {
    value = undefined;
    await stack.disposeAsync();
  });
  return () => {
    if (value === undefined) throw new Error('used outside of a test');
    return value;
  };
}
