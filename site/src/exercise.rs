//! `cargo book exercise`: lists the exercises, makes their folders, and checks what a reader
//! has written in them.

use std::env;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anstream::{print, println};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use exercises::attempt::{Failed, compile, judge};
use exercises::course::Course;
use exercises::definition::{Definition, Kind};
use exercises::fault::Fault;
use exercises::progress::Progress;
use exercises::source::{self, difference};
use exercises::subject::Subject;
use exercises::words::{Link, Told, Words};
use exercises::{folder, pages::Section};

/// The value of `--save` without a fault.
const ANSWER: &str = "answer";

#[derive(Args)]
pub struct Arguments {
    /// The exercise, as in `tick-from-seven`; without one, all are listed
    name: Option<String>,
    /// Compile and check what is in try/NAME
    #[arg(long, requires = "name")]
    check: bool,
    /// Check a server of your own at this address, in any language
    #[arg(long, value_name = "URL", requires = "name")]
    url: Option<String>,
    /// Show the difference from your files to the answer
    #[arg(long, requires = "name", conflicts_with_all = ["check", "url"])]
    solution: bool,
    /// Make try/NAME again, as it was at first; without a name, forget what is done
    #[arg(long, conflicts_with_all = ["check", "url", "solution"])]
    reset: bool,
    /// The language of the words (default: that of LC_ALL, LC_MESSAGES or LANG)
    #[arg(long, value_name = "LANG")]
    lang: Option<String>,
    /// For authors: write the answer (or a wrong one, with this fault) from try/NAME
    #[arg(long, value_name = "FAULT", requires = "name", num_args = 0..=1,
        default_missing_value = ANSWER, hide = true)]
    save: Option<String>,
}

pub fn run(root: &Path, arguments: &Arguments) -> Result<ExitCode> {
    let course = Course::load(root)?;
    let language = match &arguments.lang {
        Some(language) => language.clone(),
        None => language().into(),
    };
    let desk = Desk { words: Words::of(&language)?, course };
    let Some(name) = &arguments.name else {
        if arguments.reset {
            Progress::read(root)?.forget(None)?;
            println!(
                "{}",
                desk.words.say("Nothing is done now. Your files are as they were.")
            );
            return Ok(ExitCode::SUCCESS);
        }
        desk.list()?;
        return Ok(ExitCode::SUCCESS);
    };
    let exercise = desk.course.find(name)?;
    if let Some(what) = &arguments.save {
        desk.save(exercise, what)?;
    } else if arguments.solution {
        desk.solution(exercise)?;
    } else if arguments.check || arguments.url.is_some() {
        return desk.check(exercise, arguments.url.as_deref());
    } else {
        desk.begin(exercise, arguments.reset)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The language of the environment, if the book's words are there in it.
fn language() -> &'static str {
    let names = ["LC_ALL", "LC_MESSAGES", "LANG"].iter();
    let mut values = names.filter_map(|name| env::var(name).ok());
    let locale = values.find(|value| !value.is_empty());
    Words::language_of(&locale.unwrap_or_default())
}

/// The exercises, and the words to speak of them.
struct Desk {
    course: Course,
    words: Words,
}

impl Desk {
    /// Lists all exercises by chapter, with what is done.
    fn list(&self) -> Result<()> {
        let progress = Progress::read(&self.course.root)?;
        let longest = self.course.definitions.keys().map(String::len).max();
        let width = longest.unwrap_or(0);
        let states = ["to do", "tried", "done"].map(|state| self.words.say(state));
        let lengths = states.iter().map(|state| state.chars().count());
        let state_width = lengths.max().unwrap_or(0);
        let mut total = 0;
        let mut done = 0;
        for (page, sections) in self.course.pages(&self.words.language)? {
            let number = page.number.map(|number| format!("{number}. "));
            println!("{}{}", number.unwrap_or_default(), page.title);
            for Section { id, title, .. } in sections {
                let state = match progress.of(&id) {
                    None => states[0],
                    Some(entry) if entry.done.is_none() => states[1],
                    Some(_) => states[2],
                };
                total += 1;
                done += usize::from(progress.is_done(&id));
                println!("  {state:state_width$}  {id:width$}  {}", plain(&title));
            }
            println!();
        }
        let counts = [done.to_string(), total.to_string()];
        let counts = counts.each_ref().map(String::as_str);
        println!("{}", self.words.fill("{} of {} done.", &counts));
        println!("{} cargo book exercise NAME", self.words.say("Begin one:"));
        Ok(())
    }

    /// Makes the folder of an exercise, if it is not there, and says what to do.
    fn begin(&self, exercise: &Definition, again: bool) -> Result<()> {
        let root = &self.course.root;
        let name = &exercise.name;
        let folder = folder::of(root, name);
        let is_there = folder.exists();
        if again || !is_there {
            folder::make(root, name, &self.course.start(exercise)?)?;
        }
        if again {
            Progress::read(root)?.forget(Some(name))?;
        }
        let say = |english| self.words.say(english);
        if let Some((place, section)) = self.place(name)? {
            println!("{} ({place})\n", plain(&section.title));
            println!("{}\n", section.text);
        }
        if is_there && !again {
            let there = "try/{} is there already, and stays as it is. To begin again: --reset";
            println!("{}\n", self.words.fill(there, &[name]));
        }
        let files = self.course.writes(exercise)?;
        let files = files.iter().map(|file| format!("try/{name}/{file}"));
        let files = files.collect::<Vec<_>>().join(", ");
        let command = format!("cargo book exercise {name}");
        println!("{} {files}", say("Write in:"));
        println!("{} (cd try/{name} && cargo run)", say("Run it:  "));
        println!("{} {command} --check", say("Check it:"));
        println!("{} {command} --solution", say("Answer:  "));
        Ok(())
    }

    /// The chapter of an exercise, and its section there.
    fn place(&self, name: &str) -> Result<Option<(String, Section)>> {
        for (page, sections) in self.course.pages(&self.words.language)? {
            if let Some(section) = sections.into_iter().find(|one| one.id == name) {
                let number = page.number.map(|number| format!("{number}. "));
                let place = format!("{}{}", number.unwrap_or_default(), page.title);
                return Ok(Some((place, section)));
            }
        }
        Ok(None)
    }

    /// Checks the reader's program, or a server at this address, and says what is wrong.
    #[tokio::main]
    async fn check(
        &self,
        exercise: &Definition,
        url: Option<&str>,
    ) -> Result<ExitCode> {
        let root = &self.course.root;
        let name = &exercise.name;
        let checked = match url {
            Some(url) => {
                ensure!(
                    url.starts_with("http://"),
                    "{url} does not begin with http://"
                );
                judge(exercise, Subject::at(url)).await
            }
            None => {
                self.needs_folder(exercise)?;
                match compile(root, exercise).await {
                    Ok(subject) => judge(exercise, subject).await,
                    Err(failed) => Err(failed),
                }
            }
        };
        Progress::read(root)?.enter(name, checked.is_ok())?;
        match checked {
            Ok(()) => {
                println!("{name}: {}", self.words.say("done"));
                if exercise.breaks() {
                    let fault = Fault::new(&exercise.fault, "", "");
                    let told = self.words.tell(exercise, &fault);
                    println!(
                        "{} {}",
                        self.words.say("Broken as promised:"),
                        told.sentence
                    );
                }
                Ok(ExitCode::SUCCESS)
            }
            Err(failed) => {
                println!("{name}: {}", self.words.say("not yet"));
                self.tell(exercise, &failed);
                Ok(ExitCode::FAILURE)
            }
        }
    }

    fn needs_folder(&self, exercise: &Definition) -> Result<()> {
        let name = &exercise.name;
        if folder::of(&self.course.root, name).is_dir() {
            return Ok(());
        }
        bail!(
            "{} cargo book exercise {name}",
            self.words.fill("try/{} is not there. To make it:", &[name])
        )
    }

    /// Prints a fault: the sentence, what came and what should have come, and where it is
    /// written how it should be.
    fn tell(&self, exercise: &Definition, failed: &Failed) {
        let Told { sentence, came, should, section } =
            self.words.tell(exercise, &failed.fault);
        println!("\n{sentence}");
        for (what, text) in
            [("This came:", came), ("This should have come:", should)]
        {
            if !text.is_empty() {
                println!("\n{}\n{}", self.words.say(what), indented(&text));
            }
        }
        if let Some(Link { text, href }) = section {
            println!("\n{} {text}, {href}", self.words.say("See"));
        }
        if let Some(stderr) = &failed.stderr {
            println!(
                "\n{}\n{}",
                self.words.say("The program said:"),
                indented(stderr)
            );
        }
    }

    /// Prints the difference from the reader's files to the answer.
    fn solution(&self, exercise: &Definition) -> Result<()> {
        let root = &self.course.root;
        let name = &exercise.name;
        let folder = folder::of(root, name);
        let own = if folder.is_dir() {
            folder::read(&folder, name)?
        } else {
            self.course.start(exercise)?
        };
        if Progress::read(root)?.of(name).is_none() {
            println!(
                "{}\n",
                self.words.say("(You have not checked it yet: what did you try?)")
            );
        }
        let difference = difference(&own, &self.course.end(exercise)?);
        if difference.is_empty() {
            println!("{}", self.words.say("Your files are the answer."));
        }
        print!("{difference}");
        Ok(())
    }

    /// Writes what an author has made in the folder of an exercise beside its definition.
    fn save(&self, exercise: &Definition, what: &str) -> Result<()> {
        self.needs_folder(exercise)?;
        let name = &exercise.name;
        let own = folder::read(&folder::of(&self.course.root, name), name)?;
        let is_answer = what == ANSWER;
        let (file, text) = match &exercise.kind {
            Kind::Change | Kind::Break => {
                let text = difference(&self.course.start(exercise)?, &own);
                ensure!(!text.is_empty(), "try/{name} is as it was at first");
                ("answer.diff", text)
            }
            Kind::Fix { .. } => ("stub.rs", self.course.region(exercise, &own)?),
            Kind::Write => {
                let main = self.course.main(exercise)?;
                let text = own.get(&main).context("its main file is not there")?;
                ("start.rs", source::without_anchors(text))
            }
        };
        let (_, kind) = file.split_once('.').unwrap_or_default();
        let file =
            if is_answer { file.into() } else { format!("wrong-{what}.{kind}") };
        let path = exercise.folder.join(file);
        fs::write(&path, text)?;
        println!("{}", path.display());
        Ok(())
    }
}

fn indented(text: &str) -> String {
    let line = |line: &str| format!("    {line}");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// A title as a terminal shows it.
fn plain(title: &str) -> String {
    title.replace('`', "")
}
