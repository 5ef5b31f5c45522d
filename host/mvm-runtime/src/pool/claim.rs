//! Taking a spare.

use tokio::io::AsyncWriteExt as _;

use super::{CLAIM_SOCKET, folder, living};
use crate::{
    home::Home,
    launch::LeaseHolder,
    lease::{LaunchNews, LaunchRequest, Phase, SpareOrder},
    record::SandboxRecord,
    socket,
};

/// Claims a spare of a template for a request. `None` when there is none, or others were faster.
pub(crate) async fn claim(
    home: &Home,
    key: &str,
    request: &LaunchRequest,
) -> Option<(SandboxRecord, LeaseHolder, Vec<Phase>)> {
    let order = SpareOrder::Take(Box::new(request.clone()));
    for (id, ready) in living(home, key) {
        if !ready {
            continue;
        }
        let Some(mut lease) = say(home, key, id.as_str(), &order).await else {
            continue;
        };
        // Anything else: it was taken by another, or ended, and is not this request's.
        if let Ok(LaunchNews::Ready { record, phases }) = lease.next_news().await {
            return Some((*record, lease, phases));
        }
    }
    None
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
