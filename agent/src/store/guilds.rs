//! PURE: shares what is known of guilds out among the shards of another total.

use std::collections::BTreeMap;

use super::file::{slot, unslot};
use crate::gateway::guilds::{GuildState, entry, state};

/// What is known of one shard's guilds.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Row {
    /// Shards of its set.
    pub(super) total: u32,
    /// As [`crate::gateway::guilds::Guilds::packed`] gives it.
    pub(super) packed: Vec<u64>,
}

/// The rows of the shards of `total`, in the place of all others; none where nothing is to be done. A shard that has
/// no row of its own gets what the newest other set knew of its guilds, if all of that set's shards which can have
/// some have a row; otherwise it never ran, and what its first READY lists will count as known.
pub(super) fn share_out(rows: &BTreeMap<u64, Row>, generation: u32, total: u32) -> Option<BTreeMap<u64, Row>> {
    let mut shared: BTreeMap<u64, Row> = BTreeMap::new();
    let mut sets: BTreeMap<(u32, u32), BTreeMap<u32, &Row>> = BTreeMap::new();
    for (at, row) in rows {
        let (number, shard) = unslot(*at);
        if (number, row.total) == (generation, total) {
            shared.insert(*at, row.clone());
        } else {
            sets.entry((number, row.total)).or_default().insert(shard, row);
        }
    }
    if sets.is_empty() {
        return None;
    }
    for ((_, of), set) in sets.iter().rev() {
        let complete = (0..total).filter(|shard| is_complete(set, *of, *shard, total));
        let missing: Vec<u32> = complete.filter(|shard| !shared.contains_key(&slot(generation, *shard))).collect();
        shared.extend(missing.iter().map(|shard| (slot(generation, *shard), Row { total, packed: Vec::new() })));
        for id in set.values().flat_map(|row| known(row)) {
            let shard = u32::try_from((id >> 22) % u64::from(total)).expect("less than the total");
            if missing.binary_search(&shard).is_ok() {
                let row = shared.entry(slot(generation, shard)).or_default();
                row.packed.push(entry(id, GuildState::Out));
            }
        }
    }
    shared.values_mut().for_each(|row| row.packed.sort_unstable());
    Some(shared)
}

/// Guilds of `shard` of `total` are on those shards of `of` that leave the same rest by the common divisor.
fn is_complete(set: &BTreeMap<u32, &Row>, of: u32, shard: u32, total: u32) -> bool {
    let step = common_divisor(of, total);
    (shard % step..of).step_by(step as usize).all(|other| set.contains_key(&other))
}

fn common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a.max(1) } else { common_divisor(b, a % b) }
}

fn known(row: &Row) -> impl Iterator<Item = u64> {
    row.packed.iter().filter(|entry| state(**entry).is_known()).map(|entry| entry >> 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> u64 {
        number << 22 | 5
    }

    /// Guilds 0 to 99 on the shards of `total`, but on those only that are in `shards`.
    fn set(generation: u32, total: u32, shards: impl IntoIterator<Item = u32>) -> BTreeMap<u64, Row> {
        let row = |shard| {
            let mine = (0..100).filter(|number| number % u64::from(total) == u64::from(shard));
            Row { total, packed: mine.map(|number| entry(id(number), GuildState::Here)).collect() }
        };
        shards.into_iter().map(|shard| (slot(generation, shard), row(shard))).collect()
    }

    fn ids(rows: &BTreeMap<u64, Row>, shard: u32) -> Option<Vec<u64>> {
        rows.get(&slot(1, shard)).map(|row| row.packed.iter().map(|entry| entry >> 24).collect())
    }

    #[test]
    fn each_guild_is_known_to_its_shard_of_any_other_total() {
        for (from, to) in [(4, 8), (8, 4), (4, 6), (3, 7), (1, 5), (5, 1)] {
            let rows = share_out(&set(1, from, 0..from), 1, to).expect("another total");
            for shard in 0..to {
                let mine: Vec<u64> = (0..100).filter(|number| number % u64::from(to) == u64::from(shard)).collect();
                assert_eq!(ids(&rows, shard), Some(mine), "{from} to {to}");
            }
            assert_eq!(rows.len(), to as usize);
            assert_eq!(share_out(&rows, 1, to), None, "once");
        }
    }

    #[test]
    fn a_shard_whose_guilds_were_not_all_seen_never_ran() {
        let rows = share_out(&set(1, 4, [0, 1, 3]), 1, 8).expect("another total");
        assert_eq!([2, 6].map(|shard| ids(&rows, shard)), [None, None]);
        assert_eq!(ids(&rows, 5).map(|ids| ids.len()), Some(12));
        assert_eq!(share_out(&set(1, 4, [0, 1, 3]), 1, 7), Some(BTreeMap::new()));
    }

    #[test]
    fn rows_of_the_same_total_stay_and_the_newest_other_set_is_taken() {
        let mut rows = set(1, 4, [0]);
        rows.extend(set(2, 8, 0..8));
        let kept = rows[&slot(1, 0)].clone();
        let rows = share_out(&rows, 1, 4).expect("another set");
        assert_eq!(rows[&slot(1, 0)], kept);
        assert_eq!(ids(&rows, 1).map(|ids| ids.len()), Some(25));
        assert_eq!(share_out(&set(1, 4, 0..2), 1, 4), None);
    }

    #[test]
    fn what_the_bot_was_never_told_of_stays_new() {
        let row = Row { total: 1, packed: vec![entry(id(0), GuildState::New), entry(id(1), GuildState::Awaited)] };
        let rows = share_out(&BTreeMap::from([(slot(1, 0), row)]), 1, 2).expect("another total");
        assert_eq!([0, 1].map(|shard| ids(&rows, shard)), [Some(vec![]), Some(vec![1])]);
    }
}
