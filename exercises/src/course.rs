//! All exercises: the files that each starts and ends with, and where it stands in the book.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::definition::{self, Base, Definition, Kind};
use crate::pages::{self, Page, Section};
use crate::source::{self, Files, Program, patched, replace, without_anchors};

/// Exercises that follow each other.
const MAX_CHAIN: usize = 20;
/// Names that are offered for one that is none.
const NEAREST: usize = 3;

pub struct Course {
    pub root: PathBuf,
    pub definitions: BTreeMap<String, Definition>,
}

impl Course {
    pub fn load(root: &Path) -> Result<Self> {
        let definitions = definition::all(&root.join("exercises"))?;
        Ok(Self { root: root.into(), definitions })
    }

    /// The exercise of this name.
    pub fn find(&self, name: &str) -> Result<&Definition> {
        self.definitions.get(name).with_context(|| {
            let mut names: Vec<_> = self.definitions.keys().collect();
            // It counts most how a name begins: the rest is what readers forget.
            let far = |own: &String| 1. - strsim::jaro_winkler(own, name);
            names.sort_by(|one, other| far(one).total_cmp(&far(other)));
            names.truncate(NEAREST);
            let names = names.iter().map(|name| format!("`{name}`"));
            let names = names.collect::<Vec<_>>().join(", ");
            format!("no exercise is called `{name}`; the nearest are {names}")
        })
    }

    /// The program that an exercise starts from or ends with, with its anchors.
    fn base(&self, of: &Definition, depth: usize) -> Result<Program> {
        match &of.base {
            Base::Program(name) => {
                let mut program = source::program(&self.root, name)?;
                program.files.extend(of.first()?);
                Ok(program)
            }
            Base::File(file) => source::program_of(&self.root, file),
            Base::After(name) => {
                ensure!(depth < MAX_CHAIN, "{name} follows itself");
                let before = self.find(name)?;
                let main = self.base(before, depth + 1)?.main;
                Ok(Program { files: self.end_at(before, depth + 1)?, main })
            }
        }
    }

    /// The files of a program of the book, as a reader gets them.
    pub fn program(&self, name: &str) -> Result<Files> {
        Ok(clean(source::program(&self.root, name)?.files))
    }

    /// The files with which a reader starts.
    pub fn start(&self, of: &Definition) -> Result<Files> {
        let work = || match &of.kind {
            Kind::Change | Kind::Break => Ok(clean(self.base(of, 0)?.files)),
            Kind::Fix { .. } | Kind::Write => {
                let text = of.text(of.needed())?;
                // Its author begins with the answer, and takes away.
                match text.trim() {
                    "" => Ok(clean(self.base(of, 0)?.files)),
                    _ => self.with(of, &text),
                }
            }
        };
        work().with_context(|| format!("{}: its start", of.name))
    }

    /// The files of the answer.
    pub fn end(&self, of: &Definition) -> Result<Files> {
        self.end_at(of, 0).with_context(|| format!("{}: its end", of.name))
    }

    fn end_at(&self, of: &Definition, depth: usize) -> Result<Files> {
        let files = clean(self.base(of, depth)?.files);
        match of.kind {
            Kind::Change | Kind::Break => patched(&files, &of.text("answer.diff")?)
                .with_context(|| format!("exercises/{}/answer.diff", of.name)),
            Kind::Fix { .. } | Kind::Write => Ok(files),
        }
    }

    /// The files with this text in the place of what a reader writes: a region, or the main
    /// file.
    fn with(&self, of: &Definition, text: &str) -> Result<Files> {
        let Program { mut files, main } = self.base(of, 0)?;
        match &of.kind {
            Kind::Fix { file, anchor } => {
                let whole = files
                    .get(file)
                    .with_context(|| format!("there is no {file}"))?;
                let whole = replace(whole, anchor, text)
                    .with_context(|| file.to_string())?;
                files.insert(file.clone(), whole);
            }
            _ => drop(files.insert(main, text.into())),
        }
        Ok(clean(files))
    }

    /// The files of each wrong answer, with the fault that it has.
    pub fn wrong(&self, of: &Definition) -> Result<Vec<(String, Files)>> {
        let mut wrong = Vec::new();
        for (fault, path) in of.wrong()? {
            let text = fs::read_to_string(&path)?;
            let is_diff = path.extension().is_some_and(|kind| kind == "diff");
            let files = match (&of.kind, is_diff) {
                (_, true) => patched(&self.start(of)?, &text),
                (Kind::Fix { .. } | Kind::Write, false) => self.with(of, &text),
                _ => bail!("{}: a difference is what this needs", path.display()),
            };
            let files = files.with_context(|| path.display().to_string())?;
            wrong.push((fault, files));
        }
        Ok(wrong)
    }

    /// The main file of the program.
    pub fn main(&self, of: &Definition) -> Result<String> {
        Ok(self.base(of, 0)?.main)
    }

    /// The files that a reader changes: those in which the answer differs from the start.
    pub fn writes(&self, of: &Definition) -> Result<Vec<String>> {
        let start = self.start(of)?;
        // An author begins without an answer.
        let Ok(end) = self.end(of) else { return Ok(vec![self.main(of)?]) };
        let names = end.keys().filter(|name| start.get(*name) != end.get(*name));
        Ok(names.cloned().collect())
    }

    /// The text between the anchors of a region, as this text has it.
    pub fn region(&self, of: &Definition, files: &Files) -> Result<String> {
        let Kind::Fix { file, anchor } = &of.kind else { bail!("it has no region") };
        let program = self.base(of, 0)?.files;
        let whole =
            program.get(file).with_context(|| format!("there is no {file}"))?;
        let changed =
            files.get(file).with_context(|| format!("there is no {file}"))?;
        source::changed_region(whole, anchor, changed)
    }

    /// The pages that have exercises, in the order of the book, with the exercises of each.
    pub fn pages(&self, language: &str) -> Result<Vec<(Page, Vec<Section>)>> {
        let mut found = Vec::new();
        for mut page in pages::pages(&self.root, language)? {
            let sections = std::mem::take(&mut page.sections);
            let is_exercise =
                |section: &Section| self.definitions.contains_key(&section.id);
            let sections: Vec<_> =
                sections.into_iter().filter(is_exercise).collect();
            if !sections.is_empty() {
                found.push((page, sections));
            }
        }
        Ok(found)
    }
}

/// The files as a reader gets them.
fn clean(files: Files) -> Files {
    let clean = |(name, text): (String, String)| (name, without_anchors(&text));
    files.into_iter().map(clean).collect()
}
