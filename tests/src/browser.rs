//! A headless Chromium, told what to do over a pipe: the protocol of its own developer tools, without a driver.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::nursery;
use crate::wait::is_true_within;

/// Names under which systems have it. `GANGER_CHROMIUM` names another.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// It answers within this, its start included.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// What is awaited on a page comes true within this.
const SOON: Duration = Duration::from_secs(30);

/// The pipe is on the descriptors 3 and 4; only a shell can put it there without code of ours in between.
const START: &str = "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>\"$GANGER_CHROMIUM_LOG\"";

/// A browser with one page. Dropping it ends it.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    says: Option<ChildStdin>,
    hears: Receiver<Value>,
    session: Option<String>,
    calls: u64,
    complaints: VecDeque<String>,
    _profile: TempDir,
}

impl Browser {
    /// Starts one, if there is one on this machine; else says that the test is skipped.
    ///
    /// # Panics
    /// When there is one that cannot be used.
    pub fn start() -> Option<Self> {
        let Some(program) = find() else {
            eprintln!("SKIPPED: there is no Chromium here; install it, or name it in GANGER_CHROMIUM");
            return None;
        };
        let profile = tempfile::Builder::new().prefix("ganger-browser-").tempdir();
        let profile = profile.unwrap_or_else(|error| panic!("no temporary directory: {error}"));
        let mut command = Command::new("/bin/sh");
        command.args(["-c", START]).arg(&program).args(FLAGS);
        command.arg(format!("--user-data-dir={}", profile.path().join("profile").display()));
        command.arg("about:blank").env("GANGER_CHROMIUM_LOG", profile.path().join("log"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = nursery::spawn(command);
        let mut child = child.unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        let (send, hears) = channel();
        let pipe = child.stdout.take().map(BufReader::new);
        std::thread::spawn(move || {
            for message in pipe.into_iter().flat_map(|pipe| pipe.split(0)).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { break };
                if send.send(message).is_err() {
                    break;
                }
            }
        });
        let says = child.stdin.take();
        let complaints = VecDeque::new();
        let mut browser = Self { child, says, hears, session: None, calls: 0, complaints, _profile: profile };
        browser.attach();
        Some(browser)
    }

    fn attach(&mut self) {
        let targets = self.call("Target.getTargets", json!({}));
        let pages = targets["targetInfos"].as_array().cloned().unwrap_or_default();
        let page = pages.iter().find(|target| target["type"] == "page").map(|page| page["targetId"].clone());
        let attached = self.call("Target.attachToTarget", json!({"targetId": page, "flatten": true}));
        self.session = attached["sessionId"].as_str().map(ToOwned::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            self.call(&format!("{domain}.enable"), json!({}));
        }
    }

    /// Goes to an address.
    pub fn open(&mut self, address: &str) {
        self.call("Page.navigate", json!({ "url": address }));
    }

    /// The value of an expression on the page.
    ///
    /// # Panics
    /// When it throws.
    pub fn value(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", params);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    ///
    /// # Panics
    /// When it is not in time; what the page shows then is told.
    pub fn await_true(&mut self, expression: &str) {
        self.await_value(expression, &json!(true));
    }

    /// Waits until an expression has this value.
    ///
    /// # Panics
    /// When it has not in time; what the page shows then is told.
    pub fn await_value(&mut self, expression: &str, wanted: &Value) {
        let began = Instant::now();
        loop {
            let value = self.value(expression);
            if &value == wanted {
                return;
            }
            if began.elapsed() > SOON {
                let text = self.value("document.body?.innerText ?? null");
                panic!(
                    "{expression} is {value} and not {wanted}, of:\n{}",
                    text.as_str().unwrap_or_default()
                );
            }
        }
    }

    /// Waits for an element, and clicks on it.
    pub fn click(&mut self, selector: &str) {
        let found = format!("document.querySelector({})", json!(selector));
        self.await_true(&format!("{found} !== null && {found}.checkVisibility()"));
        self.value(&format!("{found}.click()"));
    }

    /// Types into an element.
    pub fn write(&mut self, selector: &str, text: &str) {
        self.await_true(&format!("document.querySelector({}) !== null", json!(selector)));
        self.value(&format!("document.querySelector({}).focus()", json!(selector)));
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Presses a letter, `Enter` or `Escape`.
    pub fn press(&mut self, key: &str) {
        // Keys without a letter are known by their number.
        let (kind, number, text) = match key {
            "Enter" => ("keyDown", 13, "\r"),
            "Escape" => ("rawKeyDown", 27, ""),
            letter => ("keyDown", 0, letter),
        };
        for kind in [kind, "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let params = json!({"type": kind, "key": key, "text": text, "windowsVirtualKeyCode": number});
            self.call("Input.dispatchKeyEvent", params);
        }
    }

    /// Gives the page this size, and light or dark colours.
    pub fn look(&mut self, width: u32, height: u32, is_dark: bool) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
        // Two frames, so that whatever follows sees the page as it is drawn now.
        self.value("new Promise((seen) => requestAnimationFrame(() => requestAnimationFrame(seen)))");
    }

    /// A picture of what is seen, as PNG.
    ///
    /// # Panics
    /// When there is none.
    pub fn picture(&mut self) -> Vec<u8> {
        let answer = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let data = answer["data"].as_str().unwrap_or_default();
        STANDARD.decode(data).unwrap_or_else(|error| panic!("no picture: {error}"))
    }

    /// Errors that nobody caught, and what the browser has refused the page, since this was last asked.
    pub fn complaints(&mut self) -> Vec<String> {
        // An answer comes behind whatever was said before it.
        self.value("0");
        self.complaints.drain(..).collect()
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut message = json!({"id": self.calls, "method": method});
        message["params"] = params;
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let bytes = [message.to_string().as_bytes(), b"\0"].concat();
        let sent = self.says.as_mut().map(|pipe| pipe.write_all(&bytes).and_then(|()| pipe.flush()));
        assert!(matches!(sent, Some(Ok(()))), "the browser is gone: {method}");
        loop {
            let message = match self.hears.recv_timeout(ANSWER_DEADLINE) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => panic!("no answer in {ANSWER_DEADLINE:?}: {method}"),
                Err(RecvTimeoutError::Disconnected) => panic!("the browser is gone: {method}"),
            };
            if message["id"] == self.calls {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
            self.note(&message);
        }
    }

    fn note(&mut self, message: &Value) {
        let params = &message["params"];
        match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => {
                self.complaints.push_back(params["exceptionDetails"].to_string());
            }
            Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                self.complaints.push_back(format!("{} {}", params["entry"]["text"], params["entry"]["url"]));
            }
            _ => {}
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the browser complained: {:?}", self.complaints);
        }
        // Without its pipe it ends by itself, and all of its processes with it.
        drop(self.says.take());
        let ends = || matches!(self.child.try_wait(), Ok(Some(_)) | Err(_));
        if !is_true_within(Duration::from_secs(10), ends) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

const FLAGS: [&str; 9] = [
    "--headless=new",
    "--remote-debugging-pipe",
    // It only ever sees a broker of this machine, and the sandbox wants rights that containers do not give.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
];

fn find() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("GANGER_CHROMIUM") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    NAMES
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|file| file.is_file())
}

/// Writes a picture of what is seen into the folder that `GANGER_PICTURES` names, if it names one.
///
/// # Panics
/// When it cannot be written.
pub fn keep_picture(browser: &mut Browser, name: &str) {
    let Some(folder) = std::env::var_os("GANGER_PICTURES") else { return };
    let path = Path::new(&folder).join(name);
    let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, browser.picture()));
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
