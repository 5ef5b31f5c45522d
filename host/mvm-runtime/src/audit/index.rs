//! The index of the log: how far it was read, and the nonces in what was read.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Seek as _, SeekFrom},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use mvm_contract::audit::Chain;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::{AuditError, failed, step};

/// How long a process waits for others that append.
const PATIENCE: Duration = Duration::from_secs(10);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS spent (nonce TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS position (one INTEGER PRIMARY KEY CHECK (one = 1),
                                         offset INTEGER NOT NULL, chain TEXT NOT NULL);
";

/// How far the log was read.
#[derive(Debug, Default)]
pub(super) struct Position {
    /// Bytes.
    pub(super) offset: u64,
    /// The log as it stands there; nothing where there is none.
    pub(super) chain: Option<Chain>,
}

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
    /// Reads what was appended since. A last line that is not whole was never told of to anybody,
    /// and is cut off.
    pub(super) fn catch_up(self, log: &File, path: &Path) -> Result<(Self, Position), AuditError> {
        let mut position = self.position()?;
        let length = log.metadata().map_err(failed("look at", path))?.len();
        if length < position.offset {
            let path = path.to_owned();
            return Err(AuditError::Shortened { path });
        }
        if length == position.offset {
            return Ok((self, position));
        }
        let mut reader = BufReader::new(log);
        let start = SeekFrom::Start(position.offset);
        reader.seek(start).map_err(failed("read", path))?;
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line);
            let read = read.map_err(failed("read", path))? as u64;
            let Some(text) = line.strip_suffix(b"\n") else {
                break;
            };
            let number = position.chain.as_ref().map_or(0, Chain::records) + 1;
            let Some((chain, nonce)) = step(position.chain.take(), text) else {
                let (path, line) = (path.to_owned(), number);
                return Err(AuditError::Broken { path, line });
            };
            if let Some(nonce) = nonce {
                self.spend(&nonce)?;
            }
            position.chain = Some(chain);
            position.offset += read;
        }
        if position.offset < length {
            log.set_len(position.offset).map_err(failed("mend", path))?;
            log.sync_all().map_err(failed("sync", path))?;
        }
        self.move_to(&position)?;
        Ok((self, position))
    }

    fn position(&self) -> Result<Position, AuditError> {
        let query = "SELECT offset, chain FROM position";
        let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?));
        let found = self.transaction.query_row(query, [], row).optional();
        let Some((offset, chain)) = found.map_err(unusable(self.path))? else {
            return Ok(Position::default());
        };
        let offset = u64::try_from(offset).unwrap_or_default();
        // One that cannot be read is read off the log again.
        Ok(serde_json::from_str(&chain).map_or_else(
            |_| Position::default(),
            |chain| Position {
                offset,
                chain: Some(chain),
            },
        ))
    }

    pub(super) fn is_spent(&self, nonce: &str) -> Result<bool, AuditError> {
        let query = "SELECT 1 FROM spent WHERE nonce = ?1";
        let found = self.transaction.query_row(query, [nonce], |_| Ok(()));
        Ok(found.optional().map_err(unusable(self.path))?.is_some())
    }

    pub(super) fn spend(&self, nonce: &str) -> Result<(), AuditError> {
        let insert = "INSERT OR IGNORE INTO spent VALUES (?1)";
        let inserted = self.transaction.execute(insert, [nonce]);
        inserted.map(drop).map_err(unusable(self.path))
    }

    pub(super) fn move_to(&self, position: &Position) -> Result<(), AuditError> {
        let chain = serde_json::to_string(&position.chain).unwrap_or_default();
        let offset = i64::try_from(position.offset).unwrap_or(i64::MAX);
        let write = "INSERT OR REPLACE INTO position VALUES (1, ?1, ?2)";
        let written = self.transaction.execute(write, params![offset, chain]);
        written.map(drop).map_err(unusable(self.path))
    }

    pub(super) fn commit(self) -> Result<(), AuditError> {
        self.transaction.commit().map_err(unusable(self.path))
    }
}

fn unusable(path: &Path) -> impl FnOnce(rusqlite::Error) -> AuditError {
    let path = path.to_owned();
    move |source| AuditError::Index { path, source }
}
