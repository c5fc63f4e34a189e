//! Which partition a host belongs to, and which worker a partition belongs to.

use sha2::{Digest, Sha256};

/// Returns the partition of a host, such as `https://example.com:443`. All jobs of a host are in one partition, so one
/// worker at a time does the jobs of a host.
pub(crate) fn partition_of(host: &str, partitions: u32) -> u32 {
    (hash(&[host.as_bytes()]) % u64::from(partitions)) as u32
}

/// Returns the partitions of a worker among all running workers.
///
/// Each partition belongs to the worker with the highest hash of worker and partition (rendezvous hashing). If a worker
/// starts or ends, only its own partitions move.
pub(crate) fn partitions_of<'a>(
    worker: &str,
    workers: impl Iterator<Item = &'a str> + Clone,
    partitions: u32,
) -> Vec<u32> {
    let owner = |partition: u32| {
        workers
            .clone()
            .max_by_key(|name| (hash(&[name.as_bytes(), &partition.to_le_bytes()]), *name))
    };
    (0..partitions)
        .filter(|partition| owner(*partition) == Some(worker))
        .collect()
}

/// The hash must be the same on every machine and in every version.
fn hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    let digest = hasher.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTITIONS: u32 = 64;

    #[test]
    fn each_partition_has_one_worker() {
        let workers = ["a", "b", "c"];
        let mut owned: Vec<u32> = workers
            .iter()
            .flat_map(|worker| partitions_of(worker, workers.into_iter(), PARTITIONS))
            .collect();
        owned.sort_unstable();
        assert_eq!(owned, (0..PARTITIONS).collect::<Vec<_>>());
    }

    #[test]
    fn only_the_partitions_of_an_ended_worker_move() {
        let before = partitions_of("a", ["a", "b", "c"].into_iter(), PARTITIONS);
        let after = partitions_of("a", ["a", "c"].into_iter(), PARTITIONS);
        assert!(before.iter().all(|partition| after.contains(partition)));
        assert!(before.len() < after.len());
    }

    #[test]
    fn a_partition_of_a_host_never_changes() {
        assert_eq!(partition_of("https://example.com:443", PARTITIONS), 50);
    }
}
