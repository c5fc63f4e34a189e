//! The membership of a worker: which partitions it has, and the leases of its jobs.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, PriorityPolicy};
use async_nats::jetstream::message::Acker;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::error::Error;
use crate::lookup::Lookup;
use crate::names::index_of;
use crate::partition::partitions_of;
use crate::pull::{self, Delivered, GROUP, Pull};
use crate::queue::{Queue, worker_ttl};
use crate::server::{RETRY, TaskGuard};
use crate::worker::Job;

/// The times that follow from the lease of a queue.
#[derive(Clone, Copy)]
struct Timing {
    lease: Duration,
    /// How often a worker reports that it is alive.
    heartbeat: Duration,
    /// How often a worker extends its leases. Two of three extensions may be lost.
    extension: Duration,
    /// How long a pull request waits for jobs.
    pull: Duration,
    /// How long the server reserves a partition for a worker that sends no pull request.
    pin: Duration,
}

/// How often a worker asks whether the queue is complete.
const COMPLETE_INTERVAL: Duration = Duration::from_secs(1);

/// Longer than any worker runs.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl Timing {
    fn of(lease: Duration) -> Self {
        Self {
            lease,
            heartbeat: lease / 10,
            extension: lease * 3 / 10,
            pull: lease / 6,
            pin: lease / 2,
        }
    }
}

/// What a worker, its jobs and its tasks share.
pub(crate) struct Shared {
    /// The jobs that have not ended, whose leases the worker extends.
    held: Mutex<HashMap<u64, HeldJob>>,
    /// To the task that returns jobs to the queue.
    returns: mpsc::UnboundedSender<Return>,
    membership: watch::Sender<Membership>,
    /// To the task that looks for results.
    lookups: mpsc::UnboundedSender<Lookup>,
    /// The number of jobs that the worker has received.
    deliveries: AtomicU64,
}

/// A message to the task that returns jobs.
pub(crate) enum Return {
    Job(Arc<Acker>),
    /// Reports that the jobs before this message were returned.
    Marker(oneshot::Sender<()>),
}

/// Returns jobs to the queue. `Drop` cannot wait for the server, so this task does.
pub(crate) async fn return_jobs(mut returns: mpsc::UnboundedReceiver<Return>) {
    while let Some(message) = returns.recv().await {
        match message {
            // If this fails, the lease ends later.
            Return::Job(acker) => drop(acker.ack_with(AckKind::Nak(None)).await),
            Return::Marker(done) => drop(done.send(())),
        }
    }
}

struct HeldJob {
    acker: Arc<Acker>,
    /// See [`Job::delivery`].
    delivery: u64,
    partition: u32,
    /// The space that the job takes, until it starts.
    waiting: Option<OwnedSemaphorePermit>,
}

impl HeldJob {
    fn is_started(&self) -> bool {
        self.waiting.is_none()
    }
}

#[derive(Clone)]
struct Membership {
    partitions: BTreeSet<u32>,
    /// Until when no other worker can have taken the partitions.
    alive_until: Instant,
}

impl Shared {
    fn new(returns: mpsc::UnboundedSender<Return>, lookups: mpsc::UnboundedSender<Lookup>) -> Self {
        let membership = Membership {
            partitions: BTreeSet::new(),
            alive_until: Instant::now(),
        };
        Self {
            returns,
            held: Mutex::default(),
            deliveries: AtomicU64::new(0),
            lookups,
            membership: watch::Sender::new(membership),
        }
    }

    /// Returns whether a job has a result.
    pub(crate) async fn has_result(&self, index: u64) -> Result<bool, Error> {
        let (answer, answered) = oneshot::channel();
        // Fails if the worker was dropped, as does the next line.
        let _ = self.lookups.send(Lookup { index, answer });
        let answered = answered.await;
        answered.map_err(Error::server("look for a result"))?
    }

    fn held(&self) -> MutexGuard<'_, HashMap<u64, HeldJob>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a job to the queue soon.
    pub(crate) fn give_back(&self, acker: Arc<Acker>) {
        // Without the task, the worker is dropped, and the lease ends later.
        let _ = self.returns.send(Return::Job(acker));
    }

    /// Returns the jobs for which `is_returned` is true to the queue soon.
    fn give_back_if(&self, is_returned: impl Fn(&HeldJob) -> bool) {
        let mut held = self.held();
        for (_, job) in held.extract_if(|_, job| is_returned(job)) {
            self.give_back(job.acker);
        }
    }

    /// Returns all jobs to the queue.
    pub(crate) async fn give_back_all(&self) {
        self.give_back_if(|_| true);
        let (sender, done) = oneshot::channel();
        let _ = self.returns.send(Return::Marker(sender));
        // Fails if the task has ended.
        let _ = done.await;
    }

    /// Removes a job. Returns `false` if the worker has already returned the job to the queue.
    pub(crate) fn release(&self, index: u64, delivery: u64) -> bool {
        match self.held().entry(index) {
            Entry::Occupied(job) if job.get().delivery == delivery => {
                job.remove();
                true
            }
            _ => false,
        }
    }

    /// Marks a job as started. Returns `false` if the worker has already returned the job to the queue, or if another
    /// worker has the partition.
    pub(crate) fn start(&self, index: u64, delivery: u64) -> bool {
        let membership = self.membership.borrow();
        match self.held().get_mut(&index) {
            Some(job)
                if job.delivery == delivery && membership.partitions.contains(&job.partition) =>
            {
                job.waiting = None;
                true
            }
            _ => false,
        }
    }

    /// Returns the partitions of this worker.
    pub(crate) fn owned(&self) -> BTreeSet<u32> {
        self.membership.borrow().partitions.clone()
    }

    /// Returns the number of jobs that have started but not ended, in one partition or in all.
    fn started(&self, partition: Option<u32>) -> usize {
        let held = self.held();
        let is_counted = |job: &&HeldJob| {
            job.is_started() && partition.is_none_or(|partition| job.partition == partition)
        };
        held.values().filter(is_counted).count()
    }

    fn is_known_alive(&self) -> bool {
        Instant::now() < self.membership.borrow().alive_until
    }

    /// Waits while the entry of this worker in the list of workers may have expired.
    pub(crate) async fn until_known_alive(&self) {
        if self.is_known_alive() {
            return;
        }
        let is_alive = |membership: &Membership| Instant::now() < membership.alive_until;
        let mut changes = self.membership.subscribe();
        // The sender is not dropped before `self`.
        let _ = changes.wait_for(is_alive).await;
    }
}

/// What the tasks of a worker need.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) shared: Arc<Shared>,
    queue: Queue,
    max_starts: u64,
    jobs: mpsc::UnboundedSender<Result<Job, Error>>,
}

impl Member {
    pub(crate) fn new(
        queue: Queue,
        max_starts: u64,
        jobs: mpsc::UnboundedSender<Result<Job, Error>>,
        returns: mpsc::UnboundedSender<Return>,
        lookups: mpsc::UnboundedSender<Lookup>,
    ) -> Self {
        Self {
            name: unique_name(),
            shared: Arc::new(Shared::new(returns, lookups)),
            queue,
            max_starts,
            jobs,
        }
    }

    fn timing(&self) -> Timing {
        Timing::of(self.queue.parts.settings.lease)
    }

    /// Writes the entry of this worker in the list of workers, and returns until when it is valid.
    pub(crate) async fn report_alive(&self) -> Result<Instant, Error> {
        // Before the request, because the server counts from a later moment.
        let alive_until = Instant::now() + worker_ttl(self.queue.parts.settings.lease);
        let value = Bytes::from(self.shared.started(None).to_string());
        let written = self.queue.parts.workers.put(&self.name, value).await;
        written.map_err(Error::server("list the worker"))?;
        Ok(alive_until)
    }

    /// Renews the entry of this worker, and finds out which partitions it has.
    ///
    /// After an outage, a job may start only if both are known, because another worker may have the partition now.
    async fn renew(&self) -> Result<BTreeSet<u32>, Error> {
        let was_alive = self.shared.is_known_alive();
        let alive_until = self.report_alive().await?;
        let partitions = self.owned_partitions().await?;
        if !was_alive {
            // Another worker may have had the partitions meanwhile, and may have done these jobs.
            self.shared.give_back_if(|job| !job.is_started());
        }
        self.shared.membership.send_replace(Membership {
            partitions: partitions.clone(),
            alive_until,
        });
        Ok(partitions)
    }

    /// Serves the partitions of this worker, and extends its leases, until the queue is complete.
    pub(crate) async fn run(self) {
        tokio::select! {
            completed = self.until_complete() => if let Err(error) = completed {
                // Without a receiver, the worker is dropped.
                let _ = self.jobs.send(Err(error));
            },
            () = self.serve_partitions() => {}
            () = self.extend_leases() => {}
        }
        // Nothing renews the entry any more, and jobs that wait for this would wait for ever. In a complete queue they have
        // results. After an error, the check for a result fails.
        let forever = |membership: &mut Membership| membership.alive_until += FOREVER;
        self.shared.membership.send_modify(forever);
    }

    /// Waits until each job of a sealed queue has a result.
    async fn until_complete(&self) -> Result<(), Error> {
        while !self.queue.progress().await?.is_complete() {
            tokio::time::sleep(COMPLETE_INTERVAL).await;
        }
        Ok(())
    }

    async fn serve_partitions(&self) {
        let mut partitions: HashMap<u32, TaskGuard> = HashMap::new();
        let mut heartbeat = interval(self.timing().heartbeat);
        loop {
            heartbeat.tick().await;
            // If the server is away, the worker keeps its partitions, and tries again at the next tick.
            let Ok(owned) = self.renew().await else {
                continue;
            };
            for (partition, task) in partitions.extract_if(|id, _| !owned.contains(id)) {
                drop(task);
                let (queue, shared) = (self.queue.clone(), self.shared.clone());
                let release = release_partition(queue, shared, partition, self.timing().pin);
                drop(self.queue.server.spawn(release));
            }
            for partition in owned {
                partitions
                    .entry(partition)
                    .or_insert_with(|| self.queue.server.start(self.clone().serve(partition)));
            }
        }
    }

    async fn owned_partitions(&self) -> Result<BTreeSet<u32>, Error> {
        let workers = self.queue.worker_names().await?;
        let names = workers.iter().map(String::as_str);
        let partitions = self.queue.parts.settings.partitions;
        Ok(partitions_of(&self.name, names, partitions)
            .into_iter()
            .collect())
    }

    /// Extends the leases of all jobs again and again.
    async fn extend_leases(&self) {
        let mut extension = interval(self.timing().extension);
        loop {
            extension.tick().await;
            let held: Vec<u64> = self.shared.held().keys().copied().collect();
            for index in held {
                // The job may have ended since. For a job that waits for a retry, an extension would end the pause early.
                let acker = (self.shared.held().get(&index)).map(|job| job.acker.clone());
                if let Some(acker) = acker {
                    let _ = acker.ack_with(AckKind::Progress).await;
                }
            }
        }
    }

    /// Takes the jobs of a partition until the task ends.
    async fn serve(self, partition: u32) {
        let space = pull::space();
        loop {
            let _ended = self.take_jobs(partition, &space).await;
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn take_jobs(&self, partition: u32, space: &Arc<Semaphore>) -> Result<(), Error> {
        let consumer = consumer_name(partition);
        self.create_consumer(partition, &consumer).await?;
        let stream = self.queue.parts.name.jobs();
        let server = self.queue.server.clone();
        let (space, expires) = (space.clone(), self.timing().pull);
        let mut pull = Pull::new(server, &stream, &consumer, expires, space).await?;
        loop {
            let receive = |delivered| self.receive(delivered, partition);
            pull.request(receive).await?;
        }
    }

    /// Creates the consumer of a partition, unless it exists.
    async fn create_consumer(&self, partition: u32, name: &str) -> Result<(), Error> {
        let config = Config {
            durable_name: Some(name.to_owned()),
            filter_subject: self.queue.parts.name.jobs_of(partition),
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.timing().lease,
            // No limit, because jobs that wait for a retry count. `Pull` limits the jobs of a worker.
            max_ack_pending: -1,
            priority_policy: PriorityPolicy::PinnedClient,
            priority_groups: vec![GROUP.to_owned()],
            priority_timeout: self.timing().pin,
            num_replicas: self.queue.parts.settings.replicas,
            ..Config::default()
        };
        let consumer = self.queue.parts.jobs.get_or_create_consumer(name, config);
        let created = consumer.await.map(drop);
        created.map_err(Error::server("create a consumer"))
    }

    /// Passes a job on.
    fn receive(&self, delivered: Delivered, partition: u32) -> Result<(), Error> {
        let message = delivered.message;
        let index = index_of(&message.subject)?;
        let info = message.info().map_err(Error::server("describe a job"))?;
        let deliveries = u64::try_from(info.delivered).unwrap_or(u64::MAX);
        let (message, acker) = message.split();
        let acker = Arc::new(acker);
        let delivery = self.shared.deliveries.fetch_add(1, Ordering::Relaxed);
        match self.shared.held().entry(index) {
            // The lease ended during an outage, and the server delivers the job again. The worker still has it.
            Entry::Occupied(mut held) => {
                held.get_mut().acker = acker;
                return Ok(());
            }
            Entry::Vacant(entry) => entry.insert(HeldJob {
                acker: acker.clone(),
                delivery,
                partition,
                waiting: Some(delivered.space),
            }),
        };
        // Without a receiver, the worker is dropped, and so is the job, which returns it to the queue.
        let _ = self.jobs.send(Ok(Job {
            index,
            payload: message.payload,
            deliveries,
            delivery,
            attempt: 0,
            max_starts: self.max_starts,
            acker,
            queue: self.queue.clone(),
            shared: self.shared.clone(),
            is_ended: false,
        }));
        Ok(())
    }
}

/// Returns the jobs of a partition that have not started. As soon as its other jobs have ended, or after `at_most`, lets
/// the server deliver to the next worker of the partition, so that the limits of its hosts hold.
async fn release_partition(queue: Queue, shared: Arc<Shared>, partition: u32, at_most: Duration) {
    shared.give_back_if(|job| job.partition == partition && !job.is_started());
    let until = Instant::now() + at_most;
    while shared.started(Some(partition)) > 0 && Instant::now() < until {
        tokio::time::sleep(RETRY).await;
    }
    // The partition may have moved back.
    if !shared.owned().contains(&partition) {
        unpin(&queue, partition).await;
    }
}

fn interval(period: Duration) -> Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Lets the server deliver the jobs of a partition to its next worker at once.
pub(crate) async fn unpin(queue: &Queue, partition: u32) {
    // If this fails, the server waits for `Timing::pin`.
    let consumer = consumer_name(partition);
    let _ = queue.parts.jobs.unpin_consumer(&consumer, GROUP).await;
}

fn consumer_name(partition: u32) -> String {
    format!("p{partition}")
}

/// Returns a name that no other worker has, with the characters that a key may have.
fn unique_name() -> String {
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let host = host.replace(|c: char| !is_valid(c), "-");
    format!("{host}-{}-{:08x}", std::process::id(), fastrand::u32(..))
}
