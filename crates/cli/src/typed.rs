//! What a person typed: understood, carried out, answered with an exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use clap_complete::aot;

use crate::arguments::{Arguments, Command, Shell};
use crate::commands;
use crate::failure::{Exit, Failure};
use crate::place::Remote;
use crate::{screen, usage};

/// Carries out what was typed.
pub(crate) fn run(typed: &[OsString]) -> ExitCode {
    std::panic::set_hook(Box::new(ends_as_bug));
    let words = std::iter::once(OsString::from("stead")).chain(typed.iter().cloned());
    let (json, outcome) = match Arguments::try_parse_from(words) {
        Ok(arguments) => (arguments.json, carry_out(arguments)),
        Err(error) => match misunderstood(&error, typed) {
            Ok(code) => return code,
            Err(failure) => (typed.iter().any(|word| word == "--json"), Err(failure)),
        },
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            failure.tell(json);
            failure.exit.into()
        }
    }
}

/// Help and version are no errors; a noun alone shows its help.
fn misunderstood(error: &clap::Error, typed: &[OsString]) -> Result<ExitCode, Failure> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            screen::data(&error.render().to_string());
            Ok(ExitCode::SUCCESS)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            screen::talk(error.render().to_string().trim_end());
            Ok(Exit::Usage.into())
        }
        _ => Err(usage::failure(error, typed)),
    }
}

fn carry_out(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { lab, node, host, identity, json, command } = arguments;
    let remote = match (host, identity) {
        (Some(host), Some(identity)) => Some(Remote { host, identity }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            return Err(Failure::new(Exit::Usage, "`--host` and `--identity` go together")
                .hint("`stead admin add` on a node writes the file for `--identity`"));
        }
    };
    if remote.is_some() && command.is_of_this_machine() {
        return Err(Failure::new(Exit::Usage, "`--host` asks another machine")
            .because("this command is about the machine where it is typed")
            .hint("type it there, without `--host`"));
    }
    let asked = commands::Asked { lab, node, remote, json };
    match command {
        Command::Lab(command) => commands::lab::run(&asked, command),
        Command::Completions { shell } => {
            screen::data(&completions(shell));
            Ok(ExitCode::SUCCESS)
        }
        Command::Cluster(command) => {
            commands::with_runtime(commands::cluster(&asked, command)).map(Into::into)
        }
    }
}

/// What makes a shell complete the commands, from the table that parses them.
fn completions(shell: Shell) -> String {
    let shell = match shell {
        Shell::Bash => aot::Shell::Bash,
        Shell::Zsh => aot::Shell::Zsh,
        Shell::Fish => aot::Shell::Fish,
    };
    let mut script = Vec::new();
    aot::generate(shell, &mut Arguments::command(), "stead", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// An own invariant was broken: nothing sensible can follow.
fn ends_as_bug(panic: &std::panic::PanicHookInfo<'_>) {
    let payload = panic.payload();
    let what = payload.downcast_ref::<&str>().copied();
    let what = what.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let place = panic.location().map_or_else(String::new, |place| format!(" at {place}"));
    Failure::new(Exit::Bug, "cannot go on: this is a bug of `stead`")
        .because(format!("{}{place}", what.unwrap_or("a panic")))
        .hint(format!(
            "report it with this line, the command and version {}",
            env!("CARGO_PKG_VERSION")
        ))
        .tell(false);
    std::process::exit(Exit::Bug as i32);
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn every_shell_completes_a_verb_of_a_noun() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = completions(shell);
            assert!(script.contains("clear-failures"), "{shell:?}: {script}");
        }
        // What a shell makes of it is the shell's to say, where there is one.
        let asked = "source /dev/stdin; COMP_WORDS=(stead group clear); COMP_CWORD=2; \
                     _stead stead clear group; echo \"${COMPREPLY[@]}\"";
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", asked]);
        let mut child = bash.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let script = completions(Shell::Bash);
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "clear-failures");
    }

    /// The test runs itself again in a process that may panic.
    #[test]
    fn a_panic_ends_with_the_code_of_a_bug_and_a_clear_line() {
        if std::env::var_os("STEAD_TEST_PANICS").is_some() {
            std::panic::set_hook(Box::new(ends_as_bug));
            panic!("the order of the voters was lost");
        }
        let program = std::env::current_exe().unwrap();
        let name = "typed::tests::a_panic_ends_with_the_code_of_a_bug_and_a_clear_line";
        let mut command = Command::new(program);
        command.args(["--exact", name, "--nocapture"]).env("STEAD_TEST_PANICS", "1");
        let output = command.output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(Exit::Bug as i32), "{told}");
        assert!(told.contains("error: cannot go on: this is a bug of `stead`"), "{told}");
        assert!(told.contains("cause: the order of the voters was lost at "), "{told}");
    }
}
