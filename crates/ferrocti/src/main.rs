//! The ferrocti binary: command line, configuration and wiring.

mod access;
mod admin;
mod audit;
mod cli;
mod client;
mod composer;
mod config;
mod connector;
mod groups;
mod import;
mod lookup;
mod platform;
mod print;
mod quickstart;
mod roles;
mod sample;
mod serve;
mod status;
mod system;
mod users;
mod wait;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};

/// An import takes some hundred megabytes for a while, and SQLite and Rust together leave the C library's allocator with all of them.
/// This one returns what is free to the system by itself, from a thread of its own; how soon is set in `.cargo/config.toml`.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let result = match &Cli::parse().command {
        Command::Quickstart(args) => serve::run(args, true),
        Command::Serve(args) => serve::run(args, false),
        Command::Import(args) => import::run(args),
        Command::Status(remote) => status::status(remote),
        Command::User(command) => users::run(command),
        Command::Group(command) => groups::run(command),
        Command::Role(command) => roles::run(command),
        Command::Access(command) => access::run(command),
        Command::Doctor(args) => access::doctor(args),
        Command::Audit(args) => audit::run(args),
        Command::Connector(command) => connector::run(command),
        Command::Composer(args) => composer::run(args),
        Command::Queue(command) => status::queue(command),
        Command::Parked(remote) => status::parked(remote),
        Command::Check(args) => admin::check(args),
        Command::Config => {
            print!("{}", config::describe());
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ferrocti: {error:#}");
            ExitCode::FAILURE
        }
    }
}
