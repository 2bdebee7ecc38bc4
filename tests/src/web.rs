//! A client that says to an HTTP server exactly what a test wants said, right or wrong.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// An answer comes within this.
const ANSWER_DEADLINE: Duration = Duration::from_secs(90);

/// One connection, which is made anew when the server has closed it.
#[derive(Debug)]
pub struct Web {
    at: String,
    token: Option<String>,
    connection: Option<BufReader<TcpStream>>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, the names in small letters.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        let text = self.text();
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {} {text}", self.status))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Status and code of a refusal.
    pub fn refusal(&self) -> (u16, String) {
        let body = self.json();
        (self.status, body["code"].as_str().unwrap_or_else(|| panic!("no code: {body}")).to_owned())
    }
}

impl Web {
    /// A client for a server at this address.
    pub fn new(at: &str) -> Self {
        Self { at: at.to_owned(), token: None, connection: None }
    }

    /// The same with a token.
    #[must_use]
    pub fn with_token(self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self }
    }

    /// Asks for something.
    pub fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    /// Sends JSON.
    pub fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[("Content-Type", "application/json")], body.to_string().as_bytes())
    }

    /// Sends a request without a body.
    pub fn call(&mut self, method: &str, path: &str) -> Answer {
        self.send(method, path, &[], b"")
    }

    /// Sends a request with these headers and this body.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        let mut put = |name: &str, value: &str| head.push_str(&format!("{name}: {value}\r\n"));
        let has = |name: &str| headers.iter().any(|(of, _)| of.eq_ignore_ascii_case(name));
        if !has("host") {
            put("Host", &self.at);
        }
        if let Some(token) = &self.token {
            put("Authorization", &format!("Bearer {token}"));
        }
        if !has("content-length") && (!body.is_empty() || method == "POST" || method == "PUT") {
            put("Content-Length", &body.len().to_string());
        }
        headers.iter().for_each(|(name, value)| put(name, value));
        head.push_str("\r\n");
        self.exchange(&[head.as_bytes(), body].concat(), method != "HEAD")
    }

    /// Sends bytes, and reads one answer. A connection that was kept may have been closed meanwhile; then this
    /// is said once more on a new one.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn exchange(&mut self, bytes: &[u8], has_body: bool) -> Answer {
        let is_kept = self.connection.is_some();
        match self.try_exchange(bytes, has_body) {
            Ok(answer) => answer,
            Err(_) if is_kept => self.exchange(bytes, has_body),
            Err(error) => panic!("no answer: {error}"),
        }
    }

    fn try_exchange(&mut self, bytes: &[u8], has_body: bool) -> io::Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect(&self.at)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(ANSWER_DEADLINE))?;
                BufReader::new(stream)
            }
        };
        // A server that refuses a body need not read it.
        let _ = connection.get_mut().write_all(bytes);
        let answer = read(&mut connection, has_body)?;
        if answer.header("connection") != Some("close") {
            self.connection = Some(connection);
        }
        Ok(answer)
    }
}

fn read(from: &mut BufReader<TcpStream>, has_body: bool) -> io::Result<Answer> {
    let mut line = || {
        let mut line = String::new();
        match from.read_line(&mut line)? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            _ => Ok(line.trim_end().to_owned()),
        }
    };
    let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let first = line()?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| wrong(first))?;
    let mut headers = Vec::new();
    loop {
        let header = line()?;
        let Some((name, value)) = header.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let answer = Answer { status, headers, body: Vec::new() };
    let length = answer.header("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.filter(|_| has_body).unwrap_or(0)];
    from.read_exact(&mut body)?;
    Ok(Answer { body, ..answer })
}
