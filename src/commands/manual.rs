//! What a package brings beside the program: completions for shells, and man pages.
//!
//! Nothing is written twice: commands are described by their help, the configuration by its schema.

mod file;

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use tollgate::{config, server};

/// The script that completes the command line in this shell.
pub fn completions(cli: &Command, shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut shown(cli), "tollgate", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// A command without what its help does not show either.
fn shown(command: &Command) -> Command {
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set()).cloned();
    let commands = command.get_subcommands().filter(|command| !command.is_hide_set()).map(shown);
    let about = command.get_about().cloned().unwrap_or_default();
    Command::new(command.get_name().to_owned()).about(about).args(arguments).subcommands(commands)
}

/// Writes a man page for each command into a folder, and that of the configuration.
///
/// # Errors
/// When a page cannot be written.
pub fn write_pages(cli: Command, folder: &Path) -> io::Result<()> {
    let mut cli = cli.disable_help_subcommand(true);
    cli.build();
    write_page(cli, folder)?;
    fs::write(folder.join("tollgate.yaml.5"), file::page(&config::json_schema(), server::VERSION))
}

fn write_page(command: Command, folder: &Path) -> io::Result<()> {
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        write_page(command.clone(), folder)?;
    }
    Man::new(command).source(format!("tollgate {}", server::VERSION)).manual("Tollgate").generate_to(folder).map(drop)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, ValueEnum};

    use super::*;

    /// What `--help` does not show.
    const HIDDEN: [&str; 3] = ["launch", "man-pages", "takeover"];

    #[test]
    fn every_shell_completes_what_help_shows_and_nothing_else() {
        for shell in Shell::value_variants() {
            let script = completions(&crate::Cli::command(), *shell);
            assert!(["hash-password", "threads", "rotate"].iter().all(|word| script.contains(word)), "{shell}");
            assert!(HIDDEN.iter().all(|word| !script.contains(word)), "{shell}");
        }
    }

    #[test]
    fn every_command_that_help_shows_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        write_pages(crate::Cli::command(), folder.path()).unwrap();
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        for name in ["tollgate.1", "tollgate-run.1", "tollgate-keys-rotate.1", "tollgate.yaml.5"] {
            assert!(names.iter().any(|page| page == name), "{name}: {names:?}");
        }
        assert!(names.iter().all(|page| HIDDEN.iter().all(|word| !page.to_string_lossy().contains(word))), "{names:?}");
    }
}
