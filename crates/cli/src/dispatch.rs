//! The processes that stead starts itself: hidden subcommands, told by their first words alone.

use std::ffi::OsString;
use std::process::ExitCode;

use stead_lab::{demo_web, disks, init, scribe, stamp, supervisor};

/// Runs the process that these arguments mean; `None` when a person typed them.
pub(crate) fn process(arguments: &[OsString]) -> Option<ExitCode> {
    let (first, rest) = arguments.split_first()?;
    let texts = || rest.iter().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>();
    let words = || rest.iter().cloned();
    match first.to_str()? {
        "guard" => Some(stead_guard::process::run(&texts())),
        "init" => Some(stead_guard::init::run(&texts())),
        stead_resmon::TYPE_HOST => Some(stead_resmon::type_host(&texts())),
        "monitor" => Some(stead_resmon::monitor::run(&texts())),
        "node" if rest.first().is_some_and(|word| word == "run") => {
            Some(stead_node::run(&texts()[1..]))
        }
        supervisor::SUBCOMMAND => Some(supervisor::main(words())),
        init::SUBCOMMAND => Some(init::main(words())),
        disks::SUBCOMMAND => Some(disks::main(words())),
        scribe::SUBCOMMAND => Some(scribe::main(words())),
        stamp::SUBCOMMAND => Some(stamp::main(words())),
        demo_web::SUBCOMMAND => Some(demo_web::main(words())),
        _ => None,
    }
}
