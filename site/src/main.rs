//! `cargo book`: builds every language of the book, serves it with its programs live,
//! checks it, and helps translators. `cargo book --help` lists the commands.
//!
//! A file uses only files that stand below it here:
//!
//! ```text
//! main
//! serve                                                  cargo book
//! exercise   workshop                                    cargo book exercise; on save
//! check                                                  cargo book check
//! build                                                  cargo book build
//! postprocess   search   machines   translate            HTML; its index; sitemap
//! theme   chapters   programs                            words; numbers; /live/NAME/
//! book   translation   symptoms   lessons   compiled   supervise   the sources; a process
//! history   sources   catalog                            git; links to the repository; exercises
//! page   content   links   recording   files   forward   Markdown, HTML, folders, HTTP
//! ```

mod book;
mod build;
mod catalog;
mod chapters;
mod check;
mod compiled;
mod content;
mod exercise;
mod files;
mod forward;
mod history;
mod lessons;
mod links;
mod machines;
mod page;
mod postprocess;
mod programs;
mod recording;
mod search;
mod serve;
mod sources;
mod supervise;
mod symptoms;
mod theme;
mod translate;
mod translation;
mod workshop;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use book::Book;

/// Server-Sent Events in Rust: without a command, builds the book in every language,
/// serves it with its programs live, and reloads open pages when a source file changes.
///
/// BOOK_ADDR is the address to serve on (default 127.0.0.1:3000; port 0 = any free one).
#[derive(Parser)]
#[command(name = "cargo book", bin_name = "cargo book")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Build every language as static files for any web server
    Build {
        /// Where to write; an earlier build there is replaced
        #[arg(long, default_value = "target/book")]
        dest: PathBuf,
    },
    /// Find broken includes, links and translations; list missing and stale pages
    Check {
        /// A language whose missing or stale pages are errors (repeatable)
        #[arg(long, value_name = "LANG")]
        complete: Vec<String>,
    },
    /// Start the translation of a page, or show what changed in English since
    Translate {
        /// The language's tag, as in `it` or `pt-BR`; a new one gets its folder
        lang: String,
        /// The page's file name, as in `tick.md`
        page: PathBuf,
    },
    /// List the exercises, make the folder of one, and check what you have written in it
    Exercise(exercise::Arguments),
    /// The program `feed`, for as long as stdin is open; then the folder is removed
    #[command(hide = true)]
    Feed { folder: PathBuf },
}

fn main() -> ExitCode {
    // `check` tells with file and line of the includes that mdBook only warns about.
    let quiet = Targets::new().with_default(LevelFilter::WARN).with_target(
        "mdbook_driver::builtin_preprocessors::links",
        LevelFilter::OFF,
    );
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(log).with(quiet).init();
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Option<Command>) -> Result<ExitCode> {
    let root = book::find_root()?;
    match command {
        None => serve::run(&root)?,
        Some(Command::Build { dest }) => {
            let book = Book::load(&root)?;
            let problems = check::sources(&book)?;
            problems.iter().for_each(|problem| eprintln!("{problem}"));
            println!("{}", build::build(&book, &dest, None)?);
            if !problems.is_empty() {
                return Ok(ExitCode::FAILURE);
            }
        }
        Some(Command::Check { complete }) => {
            if !check::run(&Book::load(&root)?, &complete)? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Some(Command::Translate { lang, page }) => {
            translate::run(&Book::load(&root)?, &lang, &page)?;
        }
        Some(Command::Exercise(arguments)) => {
            return exercise::run(&root, &arguments);
        }
        Some(Command::Feed { folder }) => programs::run_feed(folder)?,
    }
    Ok(ExitCode::SUCCESS)
}
