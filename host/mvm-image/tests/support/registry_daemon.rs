//! Debian's `docker-registry` on a loopback port, with TLS and passwords, filled by `skopeo`.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mvm_image::registry::{Patience, RegistryOptions};

use super::run;

pub const USER: &str = "puller";
pub const PASSWORD: &str = "correct horse";

/// A registry that lives as long as this value.
pub struct RegistryDaemon {
    pub port: u16,
    pub scratch: tempfile::TempDir,
    child: Child,
}

impl Drop for RegistryDaemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl RegistryDaemon {
    /// Starts one; `None`, with a word, where the daemon is not installed.
    pub fn start() -> Option<Self> {
        if Command::new("docker-registry")
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_err()
        {
            eprintln!("skipped: `docker-registry` is not installed (apt install docker-registry)");
            return None;
        }
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        make_certificates(scratch.path());
        fs::create_dir(at("trusted")).unwrap();
        fs::copy(at("ca.crt"), at("trusted/ca.crt")).unwrap();
        let passwords = run("apache2-utils", "htpasswd", &["-nbB", USER, PASSWORD]);
        fs::write(at("htpasswd"), passwords.stdout).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let configuration = format!(
            "version: 0.1\nlog: {{level: error}}\n\
             storage: {{filesystem: {{rootdirectory: {0}/data}}, delete: {{enabled: true}}}}\n\
             auth: {{htpasswd: {{realm: test, path: {0}/htpasswd}}}}\n\
             http:\n  addr: 127.0.0.1:{port}\n  tls: {{certificate: {0}/server.crt, key: {0}/server.key}}\n",
            scratch.path().display()
        );
        fs::write(at("config.yml"), configuration).unwrap();
        let log = fs::File::create(at("log")).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(at("config.yml"))
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let daemon = Self {
            port,
            scratch,
            child,
        };
        daemon.wait_until_ready();
        Some(daemon)
    }

    fn wait_until_ready(&self) {
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = || fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "no registry: {}",
                log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The whole of a reference to `rest`, such as `app:1`.
    pub fn reference(&self, rest: &str) -> String {
        format!("oci:{}/{rest}", self.host())
    }

    /// Copies what a layout (`DIR[:REF]`) has to `rest`.
    pub fn push(&self, layout: &str, rest: &str, extra: &[&str]) {
        let credentials = format!("{USER}:{PASSWORD}");
        let certificates = self.path("trusted").display().to_string();
        let base = [
            "copy",
            "--quiet",
            "--insecure-policy",
            "--preserve-digests",
            "--dest-cert-dir",
            &certificates,
            "--dest-creds",
            &credentials,
        ];
        let (from, to) = (
            format!("oci:{layout}"),
            format!("docker://{}/{rest}", self.host()),
        );
        run(
            "skopeo",
            "skopeo",
            &[&base[..], extra, &[&from, &to]].concat(),
        );
    }

    /// Options of a user who trusts the registry and knows the password.
    pub fn options(&self) -> RegistryOptions {
        let docker = self.path("docker");
        let own = docker.join("certs.d").join(self.host());
        fs::create_dir_all(&own).unwrap();
        fs::copy(self.path("ca.crt"), own.join("ca.crt")).unwrap();
        write_login(&docker, &self.host(), USER, PASSWORD);
        RegistryOptions {
            certificates: vec![docker.join("certs.d")],
            docker_config: Some(docker),
            patience: Patience {
                pause: Duration::from_millis(10),
                ..Patience::default()
            },
            ..RegistryOptions::default()
        }
    }
}

/// Docker's configuration, as `docker login` writes it.
pub fn write_login(directory: &Path, registry: &str, user: &str, password: &str) {
    use base64::Engine as _;
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let configuration = serde_json::json!({"auths": {registry: {"auth": auth}}});
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join("config.json"), configuration.to_string()).unwrap();
}

/// `ca.crt`, and `server.crt` that it signed for the loopback address.
pub fn make_certificates(directory: &Path) {
    let at = |name: &str| directory.join(name).display().to_string();
    let openssl = |arguments: &[&str]| {
        run("openssl", "openssl", arguments);
    };
    let curve = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ];
    let (key, certificate) = (at("ca.key"), at("ca.crt"));
    let own = [
        "-keyout",
        &key,
        "-out",
        &certificate,
        "-subj",
        "/CN=mvm test authority",
        "-days",
        "2",
    ];
    openssl(&[&["req", "-x509"], &curve[..], &own[..]].concat());
    let (server_key, request) = (at("server.key"), at("server.csr"));
    let server = [
        "-keyout",
        &server_key,
        "-out",
        &request,
        "-subj",
        "/CN=localhost",
    ];
    openssl(&[&["req"], &curve[..], &server[..]].concat());
    let extensions = at("extensions");
    fs::write(&extensions, "subjectAltName=IP:127.0.0.1,DNS:localhost\n").unwrap();
    let server = at("server.crt");
    openssl(&[
        "x509",
        "-req",
        "-in",
        &request,
        "-CA",
        &certificate,
        "-CAkey",
        &key,
        "-CAcreateserial",
        "-out",
        &server,
        "-days",
        "2",
        "-extfile",
        &extensions,
    ]);
}
