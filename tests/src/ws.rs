//! A WebSocket of somebody else's making, that says what a test wants said.

use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderName;
use tokio_tungstenite::tungstenite::{Error, HandshakeError, Message, WebSocket, client};

/// Something is heard within this.
const HEAR_DEADLINE: Duration = Duration::from_secs(60);

/// A conversation with the gateway.
#[derive(Debug)]
pub struct Ws {
    socket: WebSocket<TcpStream>,
}

impl Ws {
    /// Begins a conversation.
    ///
    /// # Panics
    /// When that is refused.
    pub fn connect(at: &str) -> Self {
        Self::try_connect(at, &[]).unwrap_or_else(|status| panic!("refused with {status}"))
    }

    /// Begins a conversation by a request with these headers too.
    ///
    /// # Errors
    /// With the status of the refusal.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn try_connect(at: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let stream = TcpStream::connect(at).unwrap();
        Self::over(stream, at, headers)
    }

    /// The same over a connection that is there already.
    ///
    /// # Errors
    /// With the status of the refusal.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn over(stream: TcpStream, at: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        stream.set_read_timeout(Some(HEAR_DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut request = format!("ws://{at}/v1/ws").into_client_request().unwrap();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        match client(request, stream) {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
            Err(error) => panic!("no answer: {error}"),
        }
    }

    /// Says something.
    ///
    /// # Panics
    /// When the connection breaks.
    pub fn say(&mut self, body: &Value) {
        self.socket.send(Message::text(body.to_string())).unwrap();
    }

    /// Says something that need not be JSON.
    ///
    /// # Panics
    /// When the connection breaks.
    pub fn say_raw(&mut self, message: Message) {
        self.socket.send(message).unwrap();
    }

    /// What is heard next; none, when the other side has said goodbye.
    ///
    /// # Panics
    /// When nothing is heard.
    pub fn hear(&mut self) -> Option<Value> {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(_)) | Err(Error::ConnectionClosed) => return None,
                Ok(_) => {}
                Err(error) => panic!("nothing was heard: {error}"),
            }
        }
    }

    /// The code with which the other side says goodbye.
    ///
    /// # Panics
    /// When it does not.
    pub fn goodbye(&mut self) -> u16 {
        loop {
            match self.socket.read() {
                Ok(Message::Close(Some(frame))) => return frame.code.into(),
                Ok(_) => {}
                Err(error) => panic!("no goodbye: {error}"),
            }
        }
    }

    /// What is heard up to the end of a request, which is the last.
    ///
    /// # Panics
    /// When nothing is heard.
    pub fn hear_out(&mut self, req: u64) -> Vec<Value> {
        self.hear_until(|said| {
            let is_over = said["type"] == "done" || (said["type"] == "error" && said.get("id").is_none());
            said["req"] == req && is_over
        })
    }

    /// What is heard up to something, which is the last.
    ///
    /// # Panics
    /// When nothing is heard.
    pub fn hear_until(&mut self, mut is_it: impl FnMut(&Value) -> bool) -> Vec<Value> {
        let mut heard = Vec::new();
        loop {
            let said = self.hear().unwrap_or_else(|| panic!("it ended before that: {heard:?}"));
            let is_last = is_it(&said);
            heard.push(said);
            if is_last {
                return heard;
            }
        }
    }

    /// Hands in tasks, and hears all that follows.
    ///
    /// # Panics
    /// When nothing is heard.
    pub fn submit(&mut self, req: u64, tasks: &Value, follow: &str) -> Vec<Value> {
        self.say(&json!({"req": req, "do": "submit", "tasks": tasks, "follow": follow}));
        self.hear_out(req)
    }
}
