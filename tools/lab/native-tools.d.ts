/** Path of a helper of test/tools, compiled when it is missing or older than its sources. */
export function nativeTool(name: 'attack' | 'bridge' | 'flood' | 'load' | 'talk'): string;
