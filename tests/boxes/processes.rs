//! The processes of a box: its group, and the children that left it.

use std::collections::HashMap;
use std::fs;

use nix::unistd::Pid;

/// The ids of the process that was started, and of those below it.
pub fn processes(first: Pid) -> Vec<i32> {
    let first = first.as_raw();
    let ids = fs::read_dir("/proc").unwrap().flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let parents: HashMap<i32, [i32; 2]> =
        ids.filter_map(|id| Some((id, parent_and_group(id)?))).collect();
    let is_below = |mut id: i32| loop {
        match parents.get(&id) {
            _ if id == first => return true,
            Some([_, group]) if *group == first => return true,
            Some([parent, _]) => id = *parent,
            None => return false,
        }
    };
    let mut below: Vec<i32> =
        parents.keys().copied().filter(|&id| is_below(id)).collect();
    below.sort();
    below
}

/// A process may be gone by now.
fn parent_and_group(id: i32) -> Option<[i32; 2]> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, behind_name) = stat.rsplit_once(") ")?;
    let mut words = behind_name.split(' ');
    if words.next()? == "Z" {
        return None;
    }
    Some([words.next()?.parse().ok()?, words.next()?.parse().ok()?])
}
