//! The exercises while the book is served: what a reader saves in `try/NAME` is compiled and
//! checked, and open pages are told. Only what lies in that folder is ever run: no request
//! starts anything.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use exercises::attempt::{Failed, compile, judge};
use exercises::course::Course;
use exercises::definition::Definition;
use exercises::progress::Progress;
use exercises::words::{Told, Words, languages};
use exercises::{fault::Fault, folder};
use notify_debouncer_full::notify::RecursiveMode;
use notify_debouncer_full::{DebounceEventResult, new_debouncer};
use serde::Serialize;
use tokio::select;
use tokio::sync::{mpsc, watch};

/// An editor that saves a file writes several times within this time.
const SETTLE: Duration = Duration::from_millis(150);
/// Saved files that wait until they are looked at.
const MAX_SAVED: usize = 64;
/// The folder of the reader's programs, and the file in it that says what is done.
const TRY: &str = "try";
const PROGRESS: &str = "progress.json";

/// The states of the exercises that have one, as pages get them: as JSON.
pub type States = watch::Sender<String>;

/// How an exercise stands.
#[derive(Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
enum State {
    Tried,
    Checking,
    /// The fault, in each language.
    Wrong {
        told: BTreeMap<&'static str, Told>,
    },
    Done,
}

/// Watches and checks for as long as the returned guard lives.
pub fn open(root: &Path, states: States) -> Result<impl Sized> {
    let (save, saved) = mpsc::channel(MAX_SAVED);
    let folder = root.join(TRY);
    fs::create_dir_all(&folder)?;
    // The system may say the real path.
    let folder = fs::canonicalize(&folder)?;
    let below = folder.clone();
    let changed = move |events: DebounceEventResult| match events {
        Err(errors) => eprintln!("error: cannot watch {TRY}/: {errors:?}"),
        Ok(events) => {
            let events = events.iter().filter(|event| !event.kind.is_access());
            let paths = events.flat_map(|event| &event.paths);
            let mut names: Vec<_> = paths
                .filter_map(|path| saved_in(path.strip_prefix(&below).ok()?))
                .collect();
            names.dedup();
            for name in names {
                // Where so many are saved at once, it is no reader who saves.
                drop(save.try_send(name));
            }
        }
    };
    let mut debouncer = new_debouncer(SETTLE, None, changed)?;
    debouncer
        .watch(&folder, RecursiveMode::Recursive)
        .with_context(|| format!("cannot watch {}", folder.display()))?;
    let mut workshop =
        Workshop { root: root.into(), current: BTreeMap::new(), states };
    workshop.recall()?;
    tokio::spawn(workshop.work(saved));
    Ok(debouncer)
}

/// The owner of a path below `try/`: an exercise, if it is a file that its reader writes,
/// or the file of what is done.
fn saved_in(path: &Path) -> Option<String> {
    let parts: Vec<_> = path.iter().map(|part| part.to_str()).collect();
    match parts[..] {
        [Some(PROGRESS)] => Some(PROGRESS.into()),
        [Some(name), Some(file)]
            if !file.starts_with('.')
                && !file.ends_with('~')
                && file != "Cargo.lock" =>
        {
            Some(name.into())
        }
        _ => None,
    }
}

struct Workshop {
    root: PathBuf,
    current: BTreeMap<String, State>,
    states: States,
}

impl Workshop {
    /// Checks what is saved, one after the other. A newer version of what is being checked
    /// ends that.
    async fn work(mut self, mut saved: mpsc::Receiver<String>) {
        let mut waiting = VecDeque::new();
        loop {
            let next = match waiting.pop_front() {
                Some(name) => Some(name),
                None => saved.recv().await,
            };
            let Some(name) = next else { return };
            if let Err(error) = self.look(&name, &mut saved, &mut waiting).await {
                eprintln!("error: {error:#}");
            }
        }
    }

    async fn look(
        &mut self,
        name: &str,
        saved: &mut mpsc::Receiver<String>,
        waiting: &mut VecDeque<String>,
    ) -> Result<()> {
        if name == PROGRESS {
            return self.recall();
        }
        let course = Course::load(&self.root)?;
        let folder = folder::of(&self.root, name);
        let Some(exercise) = course.definitions.get(name) else { return Ok(()) };
        if !folder.is_dir()
            || folder::read(&folder, name)? == course.start(exercise)?
        {
            return Ok(()); // nobody has written anything
        }
        self.set(name, State::Checking)?;
        // It is not given up: a compiler goes on where its Cargo is killed.
        let checked = match compile(&self.root, exercise).await {
            Err(failed) => Err(failed),
            Ok(subject) => {
                let checking = judge(exercise, subject);
                tokio::pin!(checking);
                loop {
                    select! {
                        checked = &mut checking => break checked,
                        Some(other) = saved.recv() => {
                            let is_newer = other == name;
                            if !waiting.contains(&other) {
                                waiting.push_back(other);
                            }
                            if is_newer {
                                return Ok(());
                            }
                        }
                    }
                }
            }
        };
        Progress::read(&self.root)?.enter(name, checked.is_ok())?;
        let state = match checked {
            Ok(()) => State::Done,
            Err(Failed { fault, .. }) => wrong(exercise, &fault)?,
        };
        self.set(name, state)
    }

    /// Looks again at what has been tried and done, here and by `cargo book exercise`.
    fn recall(&mut self) -> Result<()> {
        let progress = Progress::read(&self.root)?;
        let course = Course::load(&self.root)?;
        for name in course.definitions.keys() {
            match progress.of(name) {
                None => drop(self.current.remove(name)),
                // The version that is being written may be wrong again.
                Some(_)
                    if matches!(
                        self.current.get(name),
                        Some(State::Wrong { .. })
                    ) => {}
                Some(_) if progress.is_done(name) => self.know(name, State::Done),
                Some(_) => self.know(name, State::Tried),
            }
        }
        self.tell()
    }

    fn know(&mut self, name: &str, state: State) {
        if !matches!(self.current.get(name), Some(State::Checking)) {
            self.current.insert(name.into(), state);
        }
    }

    fn set(&mut self, name: &str, state: State) -> Result<()> {
        self.current.insert(name.into(), state);
        self.tell()
    }

    fn tell(&self) -> Result<()> {
        self.states.send_replace(serde_json::to_string(&self.current)?);
        Ok(())
    }
}

fn wrong(exercise: &Definition, fault: &Fault) -> Result<State> {
    let mut told = BTreeMap::new();
    for language in languages() {
        told.insert(language, Words::of(language)?.tell(exercise, fault));
    }
    Ok(State::Wrong { told })
}
