/**
 * Making an async context for a handle copies the stores of AsyncLocalStorage of the present moment onto the handle, on
 * Node versions that keep them there. For a handle that Node made earlier those of its making must stay.
 */
export function keepStores<T>(handle: object, make: () => T): T {
  const before = Object.getOwnPropertySymbols(handle).map((symbol) => [symbol, Reflect.get(handle, symbol)] as const);
  const made = make();
  for (const [symbol, value] of before) Reflect.set(handle, symbol, value);
  return made;
}
