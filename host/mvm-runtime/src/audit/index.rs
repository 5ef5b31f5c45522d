//! The index of the log: up to where it is synced, and the nonces in what was read.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::{
    AuditError,
    segment::{Position, failed},
};

/// How long a process waits for others that append.
const PATIENCE: Duration = Duration::from_secs(10);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS spent_nonce (nonce TEXT PRIMARY KEY,
                                            expires INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS log_end (one INTEGER PRIMARY KEY CHECK (one = 1),
                                        position TEXT NOT NULL);
";

#[derive(Debug)]
pub(super) struct Index {
    path: PathBuf,
    database: Connection,
}

/// The index while no other process can change it.
pub(super) struct Transaction<'a> {
    path: &'a Path,
    transaction: rusqlite::Transaction<'a>,
}

impl Index {
    pub(super) fn open(folder: &Path) -> Result<Self, AuditError> {
        let path = folder.join("index.db");
        let open = || {
            let database = Connection::open(&path)?;
            database.busy_timeout(PATIENCE)?;
            database.pragma_update(None, "journal_mode", "WAL")?;
            // The log is what is synced; this is read off it.
            database.pragma_update(None, "synchronous", "NORMAL")?;
            Ok(database)
        };
        let database = open().map_err(unusable(&path))?;
        // SQLite gives its other files the mode of this one.
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, private).map_err(failed("close", &path))?;
        Ok(Self { path, database })
    }

    pub(super) fn begin(&mut self) -> Result<Transaction<'_>, AuditError> {
        let path = &self.path;
        let begun = self
            .database
            .transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = begun.map_err(unusable(path))?;
        let made = transaction.execute_batch(SCHEMA);
        made.map_err(unusable(path))?;
        Ok(Transaction { path, transaction })
    }
}

impl Transaction<'_> {
    /// Up to where the log is synced for certain. One that cannot be read is read off the log
    /// again.
    pub(super) fn position(&self) -> Result<Position, AuditError> {
        let query = "SELECT position FROM log_end";
        let found = self
            .transaction
            .query_row(query, [], |row| row.get::<_, String>(0));
        let found = found.optional().map_err(unusable(self.path))?;
        let position = found.and_then(|text| serde_json::from_str(&text).ok());
        Ok(position.unwrap_or_default())
    }

    pub(super) fn move_to(&self, position: &Position) -> Result<(), AuditError> {
        let position = serde_json::to_string(position).unwrap_or_default();
        let write = "INSERT OR REPLACE INTO log_end VALUES (1, ?1)";
        let written = self.transaction.execute(write, [position]);
        written.map(drop).map_err(unusable(self.path))
    }

    pub(super) fn is_spent(&self, nonce: &str) -> Result<bool, AuditError> {
        let query = "SELECT 1 FROM spent_nonce WHERE nonce = ?1";
        let found = self.transaction.query_row(query, [nonce], |_| Ok(()));
        Ok(found.optional().map_err(unusable(self.path))?.is_some())
    }

    /// Remembers a nonce whose plan ends at `expires`; for ever where that is not known.
    pub(super) fn spend(&self, nonce: &str, expires: Option<u64>) -> Result<(), AuditError> {
        let expires = expires.and_then(|seconds| i64::try_from(seconds).ok());
        let insert = "INSERT OR IGNORE INTO spent_nonce VALUES (?1, ?2)";
        let row = params![nonce, expires.unwrap_or(i64::MAX)];
        let inserted = self.transaction.execute(insert, row);
        inserted.map(drop).map_err(unusable(self.path))
    }

    /// Forgets the nonces of plans that ended before this second.
    pub(super) fn forget(&self, before: u64) -> Result<(), AuditError> {
        let before = i64::try_from(before).unwrap_or(i64::MAX);
        let delete = "DELETE FROM spent_nonce WHERE expires < ?1";
        let deleted = self.transaction.execute(delete, [before]);
        deleted.map(drop).map_err(unusable(self.path))
    }

    pub(super) fn commit(self) -> Result<(), AuditError> {
        self.transaction.commit().map_err(unusable(self.path))
    }
}

fn unusable(path: &Path) -> impl FnOnce(rusqlite::Error) -> AuditError {
    let path = path.to_owned();
    move |source| AuditError::Index { path, source }
}
