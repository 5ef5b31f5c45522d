//! What is admitted and what is not, over the cases of `tests/attacks/`.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod attacks;
mod corpus;
mod hostile;
mod python;
mod steps;
