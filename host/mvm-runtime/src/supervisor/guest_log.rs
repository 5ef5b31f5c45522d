//! Keeping the guest's log on the host, so that it outlives the guest.

use std::{fs::File, io::Write as _};

use mvm_wire::{Frame, FrameKind, session::StreamOpener};
use tokio::sync::watch;

use super::guest;

/// A guest that talks without end fills no host disk: beyond this, its log is cut off with a
/// line that says so.
const MAX_LOG_BYTES: u64 = 4 * 1024 * 1024;

/// Copies the guest's log to `log` for as long as the guest is there.
/// Begins when `begin` is over.
pub(super) async fn follow(
    opener: StreamOpener,
    mut log: File,
    mut ended: watch::Receiver<bool>,
    begin: impl Future<Output = ()>,
) {
    let copy = async {
        begin.await;
        let Some((mut reader, _writer)) = guest::read_log(&opener).await else {
            return;
        };
        let mut written = 0;
        while let Ok(Some(Frame {
            kind: FrameKind::Data,
            payload,
        })) = reader.next().await
        {
            written += payload.len() as u64;
            if written > MAX_LOG_BYTES {
                let _ = writeln!(log, "[the log ends here: it reached {MAX_LOG_BYTES} bytes]");
                return;
            }
            if log.write_all(payload).is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = copy => {}
        _ = ended.wait_for(|ended| *ended) => {}
    }
}
