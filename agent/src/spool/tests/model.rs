//! Random operations beside a plain list for each stream.

use proptest::prelude::*;

use super::*;

const STREAMS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<usize>),
    Remove(usize, u64),
    Load(usize, u64, usize),
    Purge,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => prop::collection::vec(0..STREAMS, 1..20).prop_map(Step::Append),
        3 => (0..STREAMS, 0_u64..40).prop_map(|(stream, below)| Step::Remove(stream, below)),
        4 => (0..STREAMS, 0_u64..40, 1_usize..10).prop_map(|(stream, from, count)| Step::Load(stream, from, count)),
        1 => Just(Step::Purge),
        2 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..25)
}

/// What each stream holds: the index of the first, and the sequences.
#[derive(Default)]
struct Model([(u64, Vec<u64>); STREAMS]);

impl Model {
    fn append(&mut self, stream: usize, seq: u64) -> Placed {
        let (head, seqs) = &mut self.0[stream];
        seqs.push(seq);
        Placed::At(*head + seqs.len() as u64 - 1)
    }

    fn remove(&mut self, stream: usize, below: u64) {
        let (head, seqs) = &mut self.0[stream];
        let count = below.saturating_sub(*head).min(seqs.len() as u64);
        seqs.drain(..count as usize);
        *head += count;
    }

    fn load(&self, stream: usize, from: u64, count: usize) -> Vec<(u64, u64)> {
        let (head, seqs) = &self.0[stream];
        let all = seqs.iter().enumerate().map(|(offset, seq)| (head + offset as u64, *seq));
        all.filter(|(index, _)| *index >= from).take(count).collect()
    }

    fn events(&self) -> u64 {
        self.0.iter().map(|(_, seqs)| seqs.len() as u64).sum()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if is_full() { 200 } else { 16 }, ..ProptestConfig::default() })]

    #[test]
    fn the_spool_does_as_plain_lists_do(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Some(open(folder.path()));
        let mut model = Model::default();
        let mut seq = 0;
        for step in steps {
            let now = spool.as_ref().unwrap();
            match step {
                Step::Append(streams) => {
                    let records: Vec<NewRecord> = (seq..).zip(&streams).map(|(seq, stream)| message(*stream as u32, seq)).collect();
                    let expected: Vec<Placed> = (seq..).zip(&streams).map(|(seq, stream)| model.append(*stream, seq)).collect();
                    seq += streams.len() as u64;
                    prop_assert_eq!(append(now, records), expected);
                }
                Step::Remove(stream, below) => {
                    now.remove(key(stream as u32), below);
                    model.remove(stream, below);
                    until(now, "removed", |status| status.events == model.events());
                }
                Step::Load(stream, from, count) => {
                    let loaded = wait(now.load(key(stream as u32), from, count, usize::MAX)).unwrap();
                    let got: Vec<(u64, u64)> = loaded.records.iter().map(|record| (record.index, record.seq)).collect();
                    prop_assert_eq!(got, model.load(stream, from, count));
                }
                Step::Purge => {
                    prop_assert_eq!(wait(now.purge(sink())), Ok(model.events()));
                    (0..STREAMS).for_each(|stream| model.remove(stream, u64::MAX));
                }
                Step::Reopen => {
                    drop(spool.take());
                    spool = Some(open(folder.path()));
                }
            }
            let now = spool.as_ref().unwrap();
            let states: Vec<(u32, u64, u64)> = now.streams(sink()).iter().map(|state| (state.key.shard, state.head, state.tail)).collect();
            let expected = (0_u32..).zip(&model.0).filter(|(_, (_, seqs))| !seqs.is_empty());
            let expected: Vec<(u32, u64, u64)> = expected.map(|(shard, (head, seqs))| (shard, *head, head + seqs.len() as u64)).collect();
            prop_assert_eq!(states, expected);
        }
    }
}
