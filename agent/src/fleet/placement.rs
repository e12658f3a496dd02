//! PURE: which worker of which agent runs a shard.

/// Round-robin placement over `agents` of `workers` threads: agent `s mod A`, worker `(s div A) mod W`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placement {
    /// Agents in the fleet.
    pub agents: u32,
    /// Worker threads of each.
    pub workers: u16,
}

impl Placement {
    /// The agent that runs `shard`.
    pub fn agent(self, shard: u32) -> u32 {
        shard % self.agents
    }

    /// The worker, within its agent, that runs `shard`.
    pub fn worker(self, shard: u32) -> u16 {
        let worker = (shard / self.agents) % u32::from(self.workers);
        u16::try_from(worker).expect("a remainder of a u16 fits in a u16")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_spread_evenly_over_agents_and_workers() {
        let placement = Placement { agents: 3, workers: 4 };
        let mut load = [[0_u32; 4]; 3];
        for shard in 0..4_999 {
            load[placement.agent(shard) as usize][usize::from(placement.worker(shard))] += 1;
        }
        let all: Vec<u32> = load.into_iter().flatten().collect();
        assert_eq!(all.iter().sum::<u32>(), 4_999);
        assert!(all.iter().max().expect("12 workers") - all.iter().min().expect("12 workers") <= 1, "{all:?}");
    }
}
