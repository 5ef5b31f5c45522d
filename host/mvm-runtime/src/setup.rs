//! x
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct SetupError;
impl mvm_contract::Coded for SetupError {
    fn code(&self) -> mvm_contract::ErrorCode {
        mvm_contract::ErrorCode::BuildFailed
    }
}
