//! Child processes that never outlive this one.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};

/// Waits for the end of its standard input, which comes when the guard is dropped and when this process dies of
/// whatever signal, `SIGKILL` included; then ends the group `$2` with signal `$1` and removes the folder `$3`.
const KEEPER: &str = r#"
    trap '' HUP INT TERM
    while read -r line; do :; done
    kill -s "$1" -- "-$2" 2>/dev/null
    tries=0
    while kill -s 0 -- "-$2" 2>/dev/null && [ "$tries" -lt 150 ]; do
        tries=$((tries + 1))
        [ "$tries" -ge 100 ] && kill -s KILL -- "-$2" 2>/dev/null
        sleep 0.1
    done
    if [ -n "$3" ]; then rm -rf -- "$3"; rmdir -- "${3%/*}" 2>/dev/null; fi
"#;

/// How a process group is asked to end; after ten seconds it is killed.
#[derive(Clone, Copy)]
pub(crate) enum Stop {
    /// `SIGQUIT`: PostgreSQL ends at once and leaves recovery to a next start that never comes.
    Quit,
    /// `SIGTERM`.
    Terminate,
}

/// Holds a child in a process group of its own, and ends the whole group when dropped.
pub(crate) struct Guarded {
    child: Child,
    keeper: Child,
}

impl Guarded {
    /// Starts the command; `scratch` is a folder to remove after its end, and its parent too once that is empty.
    pub(crate) fn spawn(command: &mut Command, stop: Stop, scratch: Option<&Path>) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("`{name}` could not be started"))?;
        let signal = match stop {
            Stop::Quit => "QUIT",
            Stop::Terminate => "TERM",
        };
        let keeper = Command::new("/bin/sh")
            .args(["-c", KEEPER, "keeper", signal, &child.id().to_string()])
            .arg(scratch.unwrap_or(Path::new("")))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("`/bin/sh` could not be started")?;
        Ok(Self { child, keeper })
    }

    /// Gives access to the child itself.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for the child's own end.
    pub(crate) fn wait(mut self) -> Result<ExitStatus> {
        self.child.wait().context("the child's end could not be awaited")
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.child.wait();
        let _ = self.keeper.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_dropped_guard_ends_the_whole_group_and_removes_its_folder() {
        let scratch = std::env::temp_dir().join(format!("xtask-child-{}", std::process::id())).join("inner");
        std::fs::create_dir_all(&scratch).expect("a scratch folder");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "sleep 120 & echo started; wait"]).stdout(Stdio::piped());
        let mut guard = Guarded::spawn(&mut command, Stop::Terminate, Some(&scratch)).expect("a shell");
        let mut output = BufReader::new(guard.child().stdout.take().expect("its output"));
        output.read_line(&mut String::new()).expect("its first line");
        let begin = Instant::now();
        drop(guard);
        assert!(!scratch.exists());
        // The output ends when the last process that holds it is dead, here the grandchild.
        output.read_to_end(&mut Vec::new()).expect("the end of its output");
        assert!(begin.elapsed() < Duration::from_secs(60), "the grandchild lived on");
    }
}
