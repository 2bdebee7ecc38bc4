//! Where to listen and where to connect to, checked before any library sees it.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// An address of a socket.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Endpoint {
    /// `tcp://HOST:PORT`. Port 0 lets the system choose one when listening.
    Tcp {
        /// A name or an address; IPv6 without its brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// `ipc:///PATH`, a Unix socket.
    Ipc {
        /// The file, absolute.
        path: PathBuf,
    },
    /// `mem://NAME`, within one process.
    Mem {
        /// The name.
        name: String,
    },
}

/// What is wrong with the text of an endpoint. Nothing but another text helps.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("endpoint {text:?}: {reason}")]
pub struct EndpointError {
    text: String,
    reason: &'static str,
}

impl Endpoint {
    /// The host of a TCP endpoint.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Tcp { host, .. } => Some(host),
            Self::Ipc { .. } | Self::Mem { .. } => None,
        }
    }

    /// The port of a TCP endpoint.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp { port, .. } => Some(*port),
            Self::Ipc { .. } | Self::Mem { .. } => None,
        }
    }

    /// The same host with another port; other kinds of endpoints stay as they are.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        match self {
            Self::Tcp { host, .. } => Self::Tcp { host: host.clone(), port },
            other => other.clone(),
        }
    }

    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Tcp { host, .. } if host == "localhost" => true,
            Self::Tcp { host, .. } => host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
            Self::Ipc { .. } | Self::Mem { .. } => true,
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |reason| EndpointError { text: text.to_owned(), reason };
        if let Some(rest) = text.strip_prefix("tcp://") {
            return parse_tcp(rest).map_err(error);
        }
        if let Some(path) = text.strip_prefix("ipc://") {
            let path = PathBuf::from(path);
            // The library would take a relative name for a file in whatever directory the process is in.
            return match path.is_absolute() && path.file_name().is_some() {
                true => Ok(Self::Ipc { path }),
                false => Err(error("ipc needs an absolute path, as in ipc:///run/ganger/clients.sock")),
            };
        }
        match text.strip_prefix("mem://") {
            Some("") => Err(error("mem needs a name")),
            Some(name) => Ok(Self::Mem { name: name.to_owned() }),
            None => Err(error("must begin with tcp:// or ipc://")),
        }
    }
}

fn parse_tcp(rest: &str) -> Result<Endpoint, &'static str> {
    let (host, port) = rest.rsplit_once(':').ok_or("needs a port, as in tcp://127.0.0.1:7710")?;
    let port = port.parse().map_err(|_| "the port must be a number from 0 to 65535")?;
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) if host.parse::<std::net::Ipv6Addr>().is_ok() => host,
        Some(_) => return Err("what stands in brackets must be an IPv6 address"),
        None => host,
    };
    let is_name =
        |host: &str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    match host {
        "" => Err("needs a host, as in tcp://127.0.0.1:7710"),
        "*" => Err("for every interface write 0.0.0.0 or [::] instead of *"),
        host if host.parse::<IpAddr>().is_ok() || is_name(host) => {
            Ok(Endpoint::Tcp { host: host.into(), port })
        }
        _ => Err("the host must be a name or an address; IPv6 addresses stand in brackets"),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Ipc { path } => write!(f, "ipc://{}", path.display()),
            Self::Mem { name } => write!(f, "mem://{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_the_same() {
        for text in [
            "tcp://127.0.0.1:7710",
            "tcp://[::1]:0",
            "tcp://broker.example:1",
            "ipc:///run/g.sock",
            "mem://x",
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_the_library_would_stumble_over_is_refused() {
        for text in [
            "tcp://*:7710",
            "tcp://h:*",
            "tcp://:1",
            "tcp://h",
            "tcp://h:65536",
            "tcp://[x]:1",
            "tcp://a b:1",
            "ipc://*",
            "ipc://@name",
            "ipc:///",
            "udp://h:1",
            "",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_write_instead() {
        let error = "tcp://*:7710".parse::<Endpoint>().unwrap_err().to_string();
        assert!(error.contains("0.0.0.0") && error.contains("tcp://*:7710"), "{error}");
    }

    #[test]
    fn another_port_leaves_the_rest() {
        let with_port = |text: &str| text.parse::<Endpoint>().unwrap().with_port(7).to_string();
        assert_eq!(with_port("tcp://[::1]:0"), "tcp://[::1]:7");
        assert_eq!(with_port("ipc:///run/g.sock"), "ipc:///run/g.sock");
    }

    #[test]
    fn loopback_is_known() {
        let is_loopback = |text: &str| text.parse::<Endpoint>().unwrap().is_loopback();
        assert!(is_loopback("tcp://127.0.0.3:1") && is_loopback("tcp://[::1]:1") && is_loopback("ipc:///a"));
        assert!(!is_loopback("tcp://0.0.0.0:1") && !is_loopback("tcp://10.0.0.1:1"));
    }
}
