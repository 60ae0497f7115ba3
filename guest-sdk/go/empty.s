// Lets functions without a body, which are linked to those of the runtime, compile.
