//! What a package brings beside the program: completions for shells, and man pages.
//!
//! Nothing is written twice: commands are described by their help.

use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use tollgate::server;

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

/// Writes a man page for each command into a folder.
///
/// # Errors
/// When a page cannot be written.
pub fn write_pages(cli: Command, folder: &Path) -> io::Result<()> {
    let mut cli = cli.disable_help_subcommand(true);
    cli.build();
    write_page(cli, folder)
}

fn write_page(command: Command, folder: &Path) -> io::Result<()> {
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        write_page(command.clone(), folder)?;
    }
    Man::new(command).source(format!("tollgate {}", server::VERSION)).manual("Tollgate").generate_to(folder).map(drop)
}
