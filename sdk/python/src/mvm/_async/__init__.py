"""The asynchronous surface; the synchronous one is generated from it."""
