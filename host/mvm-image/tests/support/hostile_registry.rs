//! A registry that does what it is told to, byte by byte.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mvm_image::Digest;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring};

/// What was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// With the query.
    pub path: String,
    /// By their lowercase names.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// What is answered.
#[derive(Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub ending: Ending,
}

/// How an answer ends.
#[derive(Clone, Copy)]
pub enum Ending {
    Whole,
    /// The connection breaks after so many bytes.
    CutAt(usize),
    /// Nothing follows so many bytes.
    StallAt(usize),
    /// A byte now and then follows.
    Drip,
    /// It goes on after its end, without a length.
    Endless,
    /// No HTTP at all.
    Garbage,
}

impl Reply {
    pub fn new(status: u16, body: &[u8]) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            ending: Ending::Whole,
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }

    pub fn redirect(to: &str) -> Self {
        Self::new(307, b"").header("Location", to)
    }
}

type Answer = Box<dyn Fn(&Asked, usize) -> Reply + Send>;

/// A server on a loopback port, gone with this value.
pub struct HostileRegistry {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    answer: Mutex<Answer>,
    asked: Mutex<Vec<Asked>>,
    gone: AtomicBool,
    tls: Option<Arc<ServerConfig>>,
}

impl Drop for HostileRegistry {
    fn drop(&mut self) {
        self.shared.gone.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl HostileRegistry {
    /// `answer` is given what was asked, and how often that path was asked for before.
    pub fn start(answer: impl Fn(&Asked, usize) -> Reply + Send + 'static) -> Self {
        Self::listen(None, Box::new(answer))
    }

    /// One with the certificate in `directory`.
    pub fn start_tls(
        directory: &Path,
        answer: impl Fn(&Asked, usize) -> Reply + Send + 'static,
    ) -> Self {
        let chain = CertificateDer::pem_file_iter(directory.join("server.crt")).unwrap();
        let chain = chain.map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(directory.join("server.key")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self::listen(Some(Arc::new(config)), Box::new(answer))
    }

    fn listen(tls: Option<Arc<ServerConfig>>, answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            answer: Mutex::new(answer),
            asked: Mutex::default(),
            gone: AtomicBool::new(false),
            tls,
        });
        let server = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if server.gone.load(Ordering::SeqCst) {
                    return;
                }
                let server = Arc::clone(&server);
                // A client that hangs up is no failure of the server.
                std::thread::spawn(move || server.serve(stream?));
            }
        });
        Self { port, shared }
    }

    /// From now on it answers otherwise, and forgets what it was asked.
    pub fn answer(&self, answer: impl Fn(&Asked, usize) -> Reply + Send + 'static) {
        *self.shared.answer.lock().unwrap() = Box::new(answer);
        self.shared.asked.lock().unwrap().clear();
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        match &self.tls {
            None => self.talk(stream),
            Some(tls) => {
                let tls = ServerConnection::new(Arc::clone(tls)).map_err(io::Error::other)?;
                self.talk(StreamOwned::new(tls, stream))
            }
        }
    }

    fn talk(&self, stream: impl Read + Write) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        let asked = read_request(&mut stream)?;
        let reply = {
            let mut all = self.asked.lock().unwrap();
            let before = all.iter().filter(|it| it.path == asked.path).count();
            all.push(asked.clone());
            self.answer.lock().unwrap()(&asked, before)
        };
        let out = stream.get_mut();
        let (cut, stalls) = match reply.ending {
            Ending::CutAt(at) => (at.min(reply.body.len()), false),
            Ending::StallAt(at) => (at.min(reply.body.len()), true),
            Ending::Garbage => {
                out.write_all(b"\x16\x03\x01 no http\r\n\r\n")?;
                return out.flush();
            }
            _ => (reply.body.len(), false),
        };
        let mut head = format!("HTTP/1.1 {} Said\r\nConnection: close\r\n", reply.status);
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let has_length = reply
            .headers
            .iter()
            .any(|(name, _)| name == "Content-Length");
        if !has_length && !matches!(reply.ending, Ending::Endless) {
            head.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
        }
        out.write_all(format!("{head}\r\n").as_bytes())?;
        if matches!(reply.ending, Ending::Drip) {
            for byte in reply.body {
                out.write_all(&[byte])?;
                out.flush()?;
                self.wait(Duration::from_millis(50));
            }
            return Ok(());
        }
        out.write_all(&reply.body[..cut])?;
        out.flush()?;
        if stalls {
            self.wait(Duration::from_secs(60));
        }
        if matches!(reply.ending, Ending::Endless) {
            let more = [b' '; 64 * 1024];
            for _ in 0..4096 {
                out.write_all(&more)?;
            }
        }
        Ok(())
    }

    fn wait(&self, time: Duration) {
        let begun = std::time::Instant::now();
        while begun.elapsed() < time && !self.gone.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(20).min(time));
        }
    }
}

fn read_request(stream: &mut BufReader<impl Read>) -> io::Result<Asked> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (method, path) = (word(), word());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let length = headers
        .get("content-length")
        .and_then(|text| text.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Asked {
        method,
        path,
        headers,
        body,
    })
}

/// What an honest registry answers that has the files of a layout, the first of whose manifests is
/// tagged `1`.
pub fn honest(layout: &super::Layout, asked: &Asked) -> Reply {
    let path = asked.path.split('?').next().unwrap();
    let name = path.rsplit('/').next().unwrap();
    let name = match name {
        "1" => layout.manifests[0]["digest"].as_str().unwrap(),
        digest => digest,
    };
    let file = format!("blobs/sha256/{}", name.trim_start_matches("sha256:"));
    let Some(bytes) = layout.files.get(&file) else {
        return Reply::new(404, b"{}");
    };
    if path.contains("/manifests/") {
        let document: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        return Reply::new(200, bytes)
            .header("Content-Type", document["mediaType"].as_str().unwrap())
            .header("Docker-Content-Digest", &Digest::of(bytes).to_string());
    }
    let range = asked.headers.get("range");
    let from = range.and_then(|range| {
        range
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse::<usize>()
            .ok()
    });
    match from {
        Some(from) => {
            let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
            Reply::new(206, &bytes[from..]).header("Content-Range", &range)
        }
        None => Reply::new(200, bytes),
    }
}

/// Every blob of the cache is what its name says, and nothing is half done.
pub fn assert_clean(bench: &super::Bench) {
    let below = |name: &str| match bench.path(name) {
        path if path.exists() => super::files_below(&path),
        _ => Vec::new(),
    };
    for blob in [below("store/blobs"), below("store/pulled/blobs")].concat() {
        let name = blob.file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(Digest::of(&fs::read(&blob).unwrap()).hex(), name);
    }
    let unfinished = [below("store/staging"), below("store/pulled/staging")].concat();
    assert_eq!(unfinished, Vec::<std::path::PathBuf>::new());
    assert_eq!(below("store/blobs"), Vec::<std::path::PathBuf>::new());
}
