"""The blocking interface: generated from `mvm._async`, but for `concurrency`, which is written by hand."""
