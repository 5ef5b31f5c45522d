use super::Context;
use crate::{arguments::Setup, failure::Failure};
pub(super) fn announce_fallback(_: &Context) {}
pub(super) fn setup(_: &Context, _: &Setup) -> Result<u8, Failure> {
    Ok(0)
}
pub(super) fn doctor(_: &Context) -> Result<u8, Failure> {
    Ok(0)
}
