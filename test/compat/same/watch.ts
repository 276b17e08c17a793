/** A preload: an async hook that wants everything and does nothing. */
import { createHook } from 'node:async_hooks';

const nothing = () => {};
createHook({ init: nothing, before: nothing, after: nothing, destroy: nothing }).enable();
