//! The floor: records appended to files and synced, with an index in memory. Each file holds
//! `SEGMENT` events, so that the oldest can be deleted with a file at a time.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use anyhow::{Context, Result, bail, ensure};

use super::{Event, Key, PAGE, Reader, Store};

const SEGMENT: u64 = 4_096;
/// Length of what follows, CRC-32 of it, id, key.
const HEAD: usize = 4 + 4 + 8 + 16;
const LONGEST: usize = 1 << 20;

pub struct File {
    folder: PathBuf,
    index: Arc<RwLock<Index>>,
    /// Whoever holds it may append.
    writer: Mutex<()>,
}

#[derive(Default)]
struct Index {
    /// By the first id in it.
    segments: BTreeMap<u64, Segment>,
    ids: HashMap<Key, u64>,
    /// The oldest that counts; its file may begin earlier.
    oldest: u64,
    next: u64,
}

struct Segment {
    file: Arc<fs::File>,
    /// Where each record ends.
    ends: Vec<u64>,
    keys: Vec<Key>,
}

impl File {
    pub fn open(folder: &Path) -> Result<File> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let first: u64 = stem.context("a name")?.parse().context("its name")?;
            names.push((first, path));
        }
        names.sort();
        let mut index = Index::default();
        index.next = names.first().map_or(1, |(first, _)| *first);
        index.oldest = index.next;
        let last = names.last().map(|(first, _)| *first);
        for (first, path) in names {
            ensure!(first == index.next, "{first} follows {}", index.next);
            index.load(first, &path, last == Some(first))?;
        }
        let index = Arc::new(RwLock::new(index));
        Ok(File { folder: folder.into(), index, writer: Mutex::new(()) })
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn load(&mut self, first: u64, path: &Path, last: bool) -> Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let bytes = fs::read(path)?;
        let mut segment = Segment { file: file.into(), ends: vec![], keys: vec![] };
        let mut at = 0;
        while at < bytes.len() {
            match record(&bytes[at..])? {
                Some((length, id, key)) => {
                    ensure!(id == self.next, "{id} follows {}", self.next);
                    at += length;
                    segment.ends.push(at as u64);
                    segment.keys.push(key);
                    self.ids.insert(key, id);
                    self.next += 1;
                }
                // Nobody was told that it had been written.
                None if last => {
                    segment.file.set_len(at as u64)?;
                    break;
                }
                None => bail!("a record of {} ends early", path.display()),
            }
        }
        self.segments.insert(first, segment);
        Ok(())
    }
}

/// The first record's length, id and key, or nothing if it is not all there.
fn record(bytes: &[u8]) -> Result<Option<(usize, u64, Key)>> {
    let Some((head, _)) = bytes.split_first_chunk::<HEAD>() else { return Ok(None) };
    let number = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
    let length = u32::from_le_bytes(number(0)) as usize;
    ensure!((24..LONGEST).contains(&length), "a record of {length} bytes");
    let Some(body) = bytes.get(8..8 + length) else { return Ok(None) };
    let checksum = u32::from_le_bytes(number(4));
    ensure!(crc32fast::hash(body) == checksum, "a checksum is wrong");
    let id = body.first_chunk().context("an id")?;
    let key = body[8..].first_chunk().context("a key")?;
    Ok(Some((8 + length, u64::from_le_bytes(*id), *key)))
}

fn write(out: &mut Vec<u8>, id: u64, event: &Event) {
    let head = out.len();
    out.extend_from_slice(&(24 + event.bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(&event.key);
    out.extend_from_slice(&event.bytes);
    let checksum = crc32fast::hash(&out[head + 8..]).to_le_bytes();
    out[head + 4..head + 8].copy_from_slice(&checksum);
}

fn read(index: &RwLock<Index>) -> RwLockReadGuard<'_, Index> {
    index.read().unwrap_or_else(PoisonError::into_inner)
}

impl Store for File {
    fn commit(&self, first: u64, events: &[Event], keep: u64) -> Result<()> {
        let _writing = self.writing();
        if !events.is_empty() {
            let current = read(&self.index)
                .segments
                .last_key_value()
                .filter(|(_, segment)| (segment.ends.len() as u64) < SEGMENT)
                .map(|(&first, segment)| {
                    let end = segment.ends.last().copied().unwrap_or(0);
                    (first, segment.file.clone(), end)
                });
            let (segment, file, end) = match current {
                Some(current) => current,
                None => {
                    let path = self.folder.join(format!("{first:020}.log"));
                    let file = OpenOptions::new()
                        .read(true)
                        .write(true)
                        .create(true)
                        .truncate(true)
                        .open(path)?;
                    fs::File::open(&self.folder)?.sync_all()?;
                    (first, Arc::new(file), 0)
                }
            };
            let mut out = Vec::new();
            let mut ends = Vec::new();
            for (id, event) in (first..).zip(events) {
                write(&mut out, id, event);
                ends.push(end + out.len() as u64);
            }
            let written =
                file.write_all_at(&out, end).and_then(|()| file.sync_data());
            if let Err(error) = written {
                // Half a group must not be found at the next start.
                file.set_len(end)?;
                return Err(error.into());
            }
            let mut index =
                self.index.write().unwrap_or_else(PoisonError::into_inner);
            let keys = events.iter().map(|event| event.key);
            index.ids.extend(keys.clone().zip(first..));
            index.next = first + events.len() as u64;
            let segment = index.segments.entry(segment).or_insert_with(|| Segment {
                file,
                ends: vec![],
                keys: vec![],
            });
            segment.ends.extend(ends);
            segment.keys.extend(keys);
        }
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        while index.oldest < keep {
            let oldest = index.oldest;
            let (&first, segment) =
                index.segments.first_key_value().context("a segment")?;
            let at = (oldest - first) as usize;
            let (key, whole) = (segment.keys[at], at + 1 == segment.ends.len());
            index.ids.remove(&key);
            index.oldest += 1;
            if whole && index.oldest < index.next {
                index.segments.remove(&first);
                fs::remove_file(self.folder.join(format!("{first:020}.log")))?;
            }
        }
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn Reader>> {
        Ok(Box::new(FileReader { index: self.index.clone(), buffer: Vec::new() }))
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct FileReader {
    index: Arc<RwLock<Index>>,
    buffer: Vec<u8>,
}

impl Reader for FileReader {
    fn bounds(&mut self) -> Result<Option<(u64, u64)>> {
        let index = read(&self.index);
        Ok((index.oldest < index.next).then(|| (index.oldest, index.next - 1)))
    }

    fn page(&mut self, from: u64, each: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        let (mut from, mut left) = (from, PAGE);
        while left > 0 {
            // What is read stays valid after the lock: a file is only appended to.
            let (file, starts, end) = {
                let index = read(&self.index);
                from = from.max(index.oldest);
                if from >= index.next {
                    break;
                }
                let segment = index.segments.range(..=from).next_back();
                let (first, segment) = segment.context("a segment")?;
                let at = (from - first) as usize;
                let until = segment.ends.len().min(at + left);
                let start = if at == 0 { 0 } else { segment.ends[at - 1] };
                let starts = [&[start], &segment.ends[at..until - 1]].concat();
                (segment.file.clone(), starts, segment.ends[until - 1])
            };
            self.buffer.resize((end - starts[0]) as usize, 0);
            file.read_exact_at(&mut self.buffer, starts[0])?;
            for &start in &starts {
                let at = (start - starts[0]) as usize;
                let (length, id, _) =
                    record(&self.buffer[at..])?.context("a whole record")?;
                each(id, &self.buffer[at + HEAD..at + length]);
            }
            from += starts.len() as u64;
            left -= starts.len();
        }
        Ok(())
    }

    fn id(&mut self, key: &Key) -> Result<Option<u64>> {
        Ok(read(&self.index).ids.get(key).copied())
    }
}
