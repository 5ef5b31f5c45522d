//! Where a server is.

use std::{net::IpAddr, path::PathBuf};

use hyper::Uri;
use percent_encoding::percent_decode_str;

use super::HttpError;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP port, with or without TLS.
    Tcp {
        host: String,
        port: u16,
        is_encrypted: bool,
        /// What is before the paths of the API, without a slash at its end.
        prefix: String,
    },
}

impl Address {
    /// Reads `unix:///path`, `http://HOST:PORT` or `https://HOST:PORT`.
    pub(super) fn read(text: &str) -> Result<Self, HttpError> {
        let invalid = || HttpError::Address {
            address: text.to_owned(),
        };
        if let Some(rest) = text.strip_prefix("unix:") {
            let path = match rest.strip_prefix("//") {
                Some(path) => path,
                None => rest,
            };
            if !path.starts_with('/') {
                return Err(invalid());
            }
            let bytes: Vec<u8> = percent_decode_str(path).collect();
            use std::os::unix::ffi::OsStringExt as _;
            return Ok(Self::Unix(std::ffi::OsString::from_vec(bytes).into()));
        }
        let uri: Uri = text.parse().map_err(|_| invalid())?;
        let is_encrypted = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(invalid()),
        };
        let authority = uri.authority().ok_or_else(invalid)?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(invalid());
        }
        let host = authority.host();
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        Ok(Self::Tcp {
            host: bare.unwrap_or(host).to_owned(),
            port: authority
                .port_u16()
                .unwrap_or(if is_encrypted { 443 } else { 80 }),
            is_encrypted,
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// What requests to it begin with.
    pub(super) fn base(&self) -> String {
        match self {
            Self::Unix(_) => "http://mvm".to_owned(),
            Self::Tcp {
                host,
                port,
                is_encrypted,
                prefix,
            } => {
                let scheme = if *is_encrypted { "https" } else { "http" };
                if host.contains(':') {
                    format!("{scheme}://[{host}]:{port}{prefix}")
                } else {
                    format!("{scheme}://{host}:{port}{prefix}")
                }
            }
        }
    }

    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tcp { is_encrypted, .. } if *is_encrypted)
    }

    /// Whether what is sent there can be read on its way.
    pub(super) fn is_exposed(&self) -> bool {
        match self {
            Self::Tcp {
                host,
                is_encrypted: false,
                ..
            } => {
                let address = host.parse::<IpAddr>();
                !(host == "localhost" || address.is_ok_and(|address| address.is_loopback()))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_servers_are_read() {
        for text in ["unix:///run/mvm%20api.sock", "unix:/run/mvm%20api.sock"] {
            let path = "/run/mvm api.sock".into();
            assert_eq!(Address::read(text).unwrap(), Address::Unix(path));
        }
        let secure = Address::read("https://host.example/mvm/").unwrap();
        assert_eq!(secure.base(), "https://host.example:443/mvm");
        assert!(secure.is_encrypted() && !secure.is_exposed());
        let six = Address::read("http://[::1]:8080").unwrap();
        assert_eq!(six.base(), "http://[::1]:8080");
        assert!(!six.is_exposed());
        assert!(Address::read("http://10.0.0.1:80").unwrap().is_exposed());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "unix:relative",
            "unix://host/path",
            "ftp://host",
            "host:80",
            "http://",
            "http://user:secret@host",
            "http://host/?x",
        ] {
            assert!(Address::read(text).is_err(), "{text}");
        }
    }
}
