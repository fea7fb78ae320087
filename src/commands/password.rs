//! `tollgate hash-password`: the hash of a password, for the configuration.
//!
//! The hash is all that goes to standard output. The password is read from the terminal without an echo, or from standard
//! input, never from an argument or the environment.

use std::io::{BufRead, IsTerminal, Read, StdinLock};
use std::process::ExitCode;

use ring::rand::{SecureRandom, SystemRandom};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use tollgate::policy::password::{MAX_PASSWORD, PasswordHash};

use super::print;

/// Reads a password and prints its hash.
pub fn run() -> ExitCode {
    match hashed() {
        Ok(hash) => {
            print(&format!("{hash}\n"));
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

fn hashed() -> Result<String, String> {
    let password = read()?;
    if password.is_empty() {
        return Err("the password is empty".to_owned());
    }
    if password.len() > MAX_PASSWORD {
        return Err(format!("the password is longer than {MAX_PASSWORD} bytes"));
    }
    if password.iter().any(u8::is_ascii_control) {
        return Err("the password has control characters, which no client can send".to_owned());
    }
    let mut salt = [0; 16];
    SystemRandom::new().fill(&mut salt).map_err(|_| "the system gives no random numbers".to_owned())?;
    PasswordHash::make(&password, &salt).map_err(|fault| fault.to_string())
}

fn read() -> Result<Vec<u8>, String> {
    let mut input = std::io::stdin().lock();
    if !input.is_terminal() {
        return line(&mut input);
    }
    let silence = Silence::begin().map_err(|failed| format!("the terminal goes on showing what is typed: {failed}"))?;
    eprint!("Password: ");
    let password = line(&mut input)?;
    eprint!("\nAgain: ");
    let again = line(&mut input)?;
    eprintln!();
    drop(silence);
    if password == again { Ok(password) } else { Err("these are two different passwords".to_owned()) }
}

/// The next line, without its end; of a longer one only so much that it is seen to be too long.
fn line(input: &mut StdinLock<'_>) -> Result<Vec<u8>, String> {
    let mut line = Vec::new();
    let most = MAX_PASSWORD as u64 + 3;
    input.take(most).read_until(b'\n', &mut line).map_err(|failed| format!("standard input: {failed}"))?;
    for end in [b'\n', b'\r'] {
        line.pop_if(|last| *last == end);
    }
    Ok(line)
}

/// A terminal that does not show what is typed, until this is dropped.
struct Silence(Termios);

impl Silence {
    fn begin() -> rustix::io::Result<Self> {
        let before = tcgetattr(std::io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // The terminal is gone if this fails.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0);
    }
}
