//! Processes that the demonstration starts, and that never outlive it.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a process may take to end after its parent has let go of it.
const END_DEADLINE: Duration = Duration::from_secs(3);
/// Between two looks at whether it has ended.
const END_POLL: Duration = Duration::from_millis(5);

/// This program once more, in another role.
///
/// The child's standard input is a pipe that nobody writes to. It ends when this value is dropped, and
/// also when this process dies in whatever way; the child watches for that with [`until_parent_leaves`].
#[derive(Debug)]
pub struct Process {
    child: Child,
    life_line: Option<ChildStdin>,
    output: Option<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts the running program with other arguments.
    ///
    /// # Errors
    /// When the system does not start it.
    pub fn start_self(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let life_line = child.stdin.take();
        let output = child.stdout.take().map(BufReader::new);
        Ok(Self { child, life_line, output })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it prints, or nothing once it has closed its output.
    ///
    /// # Errors
    /// When reading fails.
    pub fn read_line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        let Some(output) = &mut self.output else { return Ok(None) };
        let read = output.read_line(&mut line)?;
        Ok((read > 0).then(|| line.trim_end().to_owned()))
    }

    /// Ends it at once, with no chance to say goodbye (SIGKILL), and waits until it is gone.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }

    /// Asks it to end, and does not wait.
    pub fn let_go(&mut self) {
        drop(self.life_line.take());
    }

    fn wait_until(&mut self, deadline: Instant) -> bool {
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(END_POLL),
                Ok(Some(_)) | Err(_) => return true,
            }
        }
        false
    }
}

impl Drop for Process {
    /// Lets go of it, waits, and ends it the hard way when it does not leave.
    fn drop(&mut self) {
        self.let_go();
        drop(self.output.take());
        if !self.wait_until(Instant::now() + END_DEADLINE) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Blocks until the parent closes the pipe behind our standard input, or dies.
pub fn until_parent_leaves() {
    let _ = io::copy(&mut io::stdin().lock().by_ref(), &mut io::sink());
}
