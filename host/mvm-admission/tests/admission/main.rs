//! What is admitted and what is not, over the cases of `tests/attacks/`.

#![allow(clippy::unwrap_used)]

mod attacks;
mod corpus;
mod hostile;
mod steps;
