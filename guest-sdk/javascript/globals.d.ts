// The names that a handler has beside those of ECMAScript: QuickJS has neither a DOM nor timers.

/** Writes to the log of the host. */
interface Console {
  debug(...values: unknown[]): void;
  log(...values: unknown[]): void;
  info(...values: unknown[]): void;
  warn(...values: unknown[]): void;
  error(...values: unknown[]): void;
}

declare var console: Console;
