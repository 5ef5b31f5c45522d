//! Taking a spare.

use mvm_contract::ErrorCode;
use tokio::io::AsyncWriteExt as _;

use super::{CLAIM_SOCKET, folder, living};
use crate::{
    CreateError,
    home::Home,
    launch::LeaseHolder,
    lease::{LaunchFailure, LaunchNews, LaunchRequest, Phase, SpareOrder},
    record::SandboxRecord,
    socket,
};

/// A spare that became a sandbox, its lease, and what that consisted of.
pub(crate) type Claimed = (SandboxRecord, LeaseHolder, Vec<Phase>);

/// Claims a spare of a template for a request. `None` when there is none, or others were faster;
/// a failure where the request's plan was not admitted, which no other spare would do either.
pub(crate) async fn claim(
    home: &Home,
    key: &str,
    request: &LaunchRequest,
) -> Option<Result<Claimed, LaunchFailure>> {
    let order = SpareOrder::Take(Box::new(request.clone()));
    let mut hung_up = false;
    for (id, ready) in living(home, key) {
        if !ready {
            continue;
        }
        let Some(mut lease) = say(home, key, id.as_str(), &order).await else {
            continue;
        };
        match lease.next_news().await {
            Ok(LaunchNews::Ready { record, phases }) => return Some(Ok((*record, lease, phases))),
            // Where one hung up before, the plan may have been spent on it.
            Ok(LaunchNews::Failed(failure)) if is_denial(&failure) && !hung_up => {
                return Some(Err(failure));
            }
            // It was taken by another, or ended.
            Err(CreateError::SupervisorDied | CreateError::Lease(_)) => hung_up = true,
            // Its plan may be spent on it.
            _ => return None,
        }
    }
    None
}

fn is_denial(failure: &LaunchFailure) -> bool {
    let denied = [ErrorCode::AdmissionFailed, ErrorCode::PolicyDenied];
    denied.contains(&failure.code)
}

/// Ends spares of a template that wait, but for so many that are kept, and tells how many ended.
pub(crate) async fn retire(home: &Home, key: &str, kept: u32) -> u32 {
    let mut retired = 0;
    let kept = usize::try_from(kept).unwrap_or(usize::MAX);
    for (id, _) in living(home, key).into_iter().skip(kept) {
        if let Some(mut lease) = say(home, key, id.as_str(), &SpareOrder::Retire).await {
            // Its end is the answer.
            let _ = lease.next_news().await;
            retired += 1;
        }
    }
    retired
}

async fn say(home: &Home, key: &str, id: &str, order: &SpareOrder) -> Option<LeaseHolder> {
    let folder = folder(home, key).join(id);
    let mut stream = socket::connect(&folder, CLAIM_SOCKET).await.ok()?;
    let mut line = serde_json::to_vec(order).ok()?;
    line.push(b'\n');
    stream.write_all(&line).await.ok()?;
    Some(LeaseHolder::over(stream))
}
