//! inflight on plain threads: a task is an OS thread.
