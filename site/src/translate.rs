//! `cargo book translate LANG PAGE`: starts a page for a translator, or shows what
//! changed in the English one since theirs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use lazy_regex::regex_is_match;

use crate::book::{Book, ChapterWords};
use crate::page::{self, State};
use crate::theme;

pub fn run(book: &Book, lang: &str, page: &Path) -> Result<()> {
    let source = book.source();
    ensure!(
        lang != source.tag,
        "`{lang}` is the language that the others translate"
    );
    ensure!(
        regex_is_match!(r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$", lang),
        "`{lang}` is no language tag, as in `it` or `pt-BR`"
    );
    let page = find(book, page)?;
    let english = book.english(&page)?;
    let folder = source.folder.with_file_name(lang);
    if !folder.exists() {
        start_language(book, &folder, lang)?;
    }

    let file = folder.join(&page);
    let shown = file.strip_prefix(&book.root)?.display().to_string();
    let first = page::translates(&english);
    let text = page::read(&file)?;
    match page::state(&english, text.as_deref()) {
        State::Current => println!("{shown} is up to date"),
        State::Missing => {
            fs::create_dir_all(file.parent().unwrap_or(&folder))?;
            let text = page::without_ids(&english);
            fs::write(&file, format!("{first}{text}"))?;
            println!(
                "{shown} holds the English text: write yours over it, but keep the"
            );
            println!("first line and the includes. Then run: cargo book check");
        }
        State::Stale => {
            let Some((old, _)) = text.as_deref().and_then(page::split) else {
                bail!("{shown}:1: the first line is not `{}`", first.trim());
            };
            show_changes(book, old, &source.folder.join(&page))?;
            println!(
                "\nWhen {shown} says the same, this is its first line:\n{first}"
            );
        }
    }
    Ok(())
}

/// The page with this name, whether given as `tick.md`, `tick` or `src/en/tick.md`.
fn find(book: &Book, page: &Path) -> Result<PathBuf> {
    let name = page.with_extension("md");
    let found = book.pages().find(|path| name.ends_with(path));
    found.map(Path::to_path_buf).with_context(|| {
        let pages: Vec<_> =
            book.pages().map(|path| path.display().to_string()).collect();
        format!(
            "there is no page {}; there are {}",
            page.display(),
            pages.join(", ")
        )
    })
}

/// A folder for a new language: its titles and words wait in English to be translated.
fn start_language(book: &Book, folder: &Path, lang: &str) -> Result<()> {
    let source = book.source();
    let settings = &source.settings;
    let mut words = format!(
        "# The language's name, the book's title and description, and the words\n\
         # of the interface: take the # from a line when it is translated.\n\
         # The name is what the language calls itself, as in \"Português (Brasil)\".\n\
         name = \"{lang}\"\ntitle = {:?}\ndescription = {:?}\n\n\
         # The sign in front of a number's decimals, if it is not the point.\n\
         # decimal = \",\"\n\n",
        settings.title, settings.description
    );
    let ChapterWords { one, many, between } = ChapterWords::english();
    words += &format!(
        "# The words before a chapter's number, as in \"chapters N and M\".\n\
         # [chapters]\n# one = {one:?}\n# many = {many:?}\n# between = {between:?}\n\n\
         [words]\n"
    );
    for word in theme::words(&book.theme())? {
        words += &format!("# {word:?} = \"\"\n");
    }
    fs::create_dir_all(folder)?;
    fs::write(folder.join("language.toml"), words)?;
    fs::copy(source.folder.join("SUMMARY.md"), folder.join("SUMMARY.md"))?;
    let shown = folder.strip_prefix(&book.root)?.display();
    println!(
        "{shown} is new: translate its SUMMARY.md (titles) and language.toml, too"
    );
    Ok(())
}

/// Lets git show the changes since the text that was translated.
fn show_changes(book: &Book, old: &str, english: &Path) -> Result<()> {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(&book.root).args(arguments);
        git
    };
    // A text that git does not know is no error of its reader.
    let known = git(&["cat-file", "-e", old]).stderr(Stdio::null()).status();
    let known = known.is_ok_and(|status| status.success());
    let mut diff = git(&["--no-pager", "diff", "--word-diff", old]);
    if !known || !diff.arg(english).status()?.success() {
        println!("The history has no text {old} (or there is no git): read all of");
        println!("{}", english.strip_prefix(&book.root)?.display());
    }
    Ok(())
}
