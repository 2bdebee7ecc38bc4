//! A real process under test, and what can be done to it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{fmt, io};

use crate::nursery;
use crate::procfs;
use crate::wait::eventually;

/// A signal takes effect within this, or the machine is not fit for tests.
const SIGNAL_DEADLINE: Duration = Duration::from_secs(10);

/// A process with its output in two files. Dropping it kills it and everything in its process group.
///
/// It stays a zombie until then, so that its id cannot become somebody else's while a signal may still be
/// sent to it.
pub struct Proc {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// By itself, with an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl Proc {
    /// Starts a program; its output goes to `NAME.out` and `NAME.err` in `logs`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(name: &str, mut command: Command, logs: &Path) -> Self {
        let stdout = logs.join(format!("{name}.out"));
        let stderr = logs.join(format!("{name}.err"));
        // A restarted process writes on where the one before it stopped.
        let open = |path: &Path| {
            File::options()
                .create(true)
                .append(true)
                .open(path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        command.stdin(Stdio::null()).stdout(open(&stdout)).stderr(open(&stderr));
        let shown = format!("{command:?}");
        let child = nursery::spawn(command).unwrap_or_else(|error| panic!("cannot start {shown}: {error}"));
        Self { name: name.to_owned(), child, stdout, stderr }
    }

    /// What it is called in the logs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id, which stays its own until this is dropped.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it without a chance to say anything, and waits until it has ended. What it started itself is
    /// left alone until this is dropped, as it would be in an accident.
    pub fn kill(&self) {
        self.signal(libc::SIGKILL);
        self.wait(SIGNAL_DEADLINE);
    }

    /// Freezes it, and waits until it is frozen.
    pub fn stop(&self) {
        self.signal(libc::SIGSTOP);
        let frozen = || self.ended().is_some() || procfs::state(self.pid()) == Some('T');
        eventually(&format!("{} is frozen", self.name), SIGNAL_DEADLINE, frozen);
    }

    /// Lets it go on after [`stop`](Self::stop).
    pub fn cont(&self) {
        self.signal(libc::SIGCONT);
    }

    /// Asks it to end: workers and brokers drain.
    pub fn term(&self) {
        self.signal(libc::SIGTERM);
    }

    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        self.ended().is_none()
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it has not by the deadline.
    pub fn wait(&self, deadline: Duration) -> Ended {
        eventually(&format!("{} has ended", self.name), deadline, || self.ended().is_some());
        self.ended().unwrap_or_else(|| unreachable!("it has ended, as was just seen"))
    }

    /// Everything that it has written to its standard output.
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// Everything that it has written to its standard error.
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// Its memory now, in bytes; 0 once it has ended.
    pub fn rss_bytes(&self) -> u64 {
        procfs::rss_bytes(self.pid()).unwrap_or(0)
    }

    /// The processor time that it has used.
    pub fn cpu_time(&self) -> Duration {
        procfs::cpu_time(self.pid()).unwrap_or_default()
    }

    fn signal(&self, signal: libc::c_int) {
        send_signal(self.pid() as libc::pid_t, signal);
    }

    /// How it ended, if it has; without taking the zombie away.
    #[allow(unsafe_code)] // The standard library has no way to look at an end without reaping it.
    fn ended(&self) -> Option<Ended> {
        // SAFETY: a zeroed siginfo_t is a valid one, and the call writes into it alone; its status is read
        // only after the call has said that it filled it in.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            let result = libc::waitid(libc::P_PID, self.pid(), &raw mut info, options);
            assert_eq!(result, 0, "waiting for {}: {}", self.name, io::Error::last_os_error());
            match (info.si_pid(), info.si_code) {
                (0, _) => None,
                (_, libc::CLD_EXITED) => Some(Ended::Code(info.si_status())),
                _ => Some(Ended::Signal(info.si_status())),
            }
        }
    }

    /// Prints the end of what it wrote, for the reader of a failed test.
    pub fn print_log(&self) {
        for (stream, text) in [("stdout", self.stdout()), ("stderr", self.stderr())] {
            if text.is_empty() {
                continue;
            }
            let lines: Vec<&str> = text.lines().collect();
            let from = lines.len().saturating_sub(PRINTED_LINES_MAX);
            eprintln!("--- {} ({}) {stream}, from line {}", self.name, self.pid(), from + 1);
            for line in &lines[from..] {
                eprintln!("{line}");
            }
        }
    }
}

/// Lines of each log that a failed test shows.
const PRINTED_LINES_MAX: usize = 25;

impl Drop for Proc {
    fn drop(&mut self) {
        // Its group first: the id is not free before the zombie is taken away below.
        send_signal(-(self.pid() as libc::pid_t), libc::SIGKILL);
        send_signal(self.pid() as libc::pid_t, libc::SIGKILL);
        let _ = self.child.wait();
    }
}

impl fmt::Debug for Proc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proc({}, {})", self.name, self.pid())
    }
}

/// Makes this process the parent of every orphan among its descendants, so that it can [`bury`] them.
#[allow(unsafe_code)] // The standard library has no face for this attribute of a process.
pub fn adopt_orphans() {
    // SAFETY: the call sets an attribute of this process and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
}

/// Ends an adopted orphan, if it has not ended, and takes away what is left of it. Where nobody does, as in
/// many containers, it would stay in the list of processes.
#[allow(unsafe_code)] // The standard library reaps only what it has started itself.
pub fn bury(orphan: u32) {
    let (orphan, mut status) = (orphan as libc::pid_t, 0);
    // SAFETY: the calls take a number each, and write into one that outlives them. Only a child of this
    // process is found and ended: whose id could have become another's is no child any more.
    unsafe {
        if libc::waitpid(orphan, &raw mut status, libc::WNOHANG) == 0 {
            libc::kill(orphan, libc::SIGKILL);
            libc::waitpid(orphan, &raw mut status, 0);
        }
    }
}

/// Signals a process (or, by a negative id, a group) that has not been reaped; one that is a zombie, or a
/// group that is empty, is no error.
#[allow(unsafe_code)] // The standard library knows no signal but SIGKILL.
fn send_signal(pid: libc::pid_t, signal: libc::c_int) {
    // SAFETY: the call takes two numbers and touches no memory.
    unsafe { libc::kill(pid, signal) };
}

fn read(path: &Path) -> String {
    // Lossy: a process that was killed may have left half a character.
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
