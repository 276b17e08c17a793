/** Puts a method in the place of another, with the same attributes as the one found. */
export function replaceMethod<T extends object>(
  target: T,
  name: string | symbol,
  make: (original: (...args: unknown[]) => unknown) => (...args: never[]) => unknown,
): void {
  const own = Object.getOwnPropertyDescriptor(target, name);
  const original = Reflect.get(target, name) as (...args: unknown[]) => unknown;
  const value = make(original);
  const enumerable = own?.enumerable ?? true;
  Object.defineProperty(target, name, { value, enumerable, configurable: true, writable: true });
}
