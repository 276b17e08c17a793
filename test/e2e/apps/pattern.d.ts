import type { Readable } from 'node:stream';

export function pattern(bytes: number, seed: string | number): Readable;
export function patternHash(bytes: number, seed: string | number): string;
