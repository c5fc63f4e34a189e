//! An open queue, and the streams and buckets that it consists of.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::kv::{self, Store};
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, Stream};
use async_nats::jetstream::{Context, ErrorCode};
use bytes::Bytes;
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::names::QueueName;
use crate::server::Server;

/// The key of the settings. `create` writes it last, so a queue with this key has all its streams and buckets.
const MANIFEST: &str = "manifest";
/// The key of the progress of the push.
pub(crate) const PUSHED: &str = "pushed";
/// The key of the number of jobs of a sealed queue.
pub(crate) const SEALED: &str = "sealed";

/// The shortest lease, because a worker must be able to extend it a few times.
const MIN_LEASE: Duration = Duration::from_secs(2);

/// How long a worker stays in the list of workers after its last heartbeat.
pub(crate) fn worker_ttl(lease: Duration) -> Duration {
    lease / 3
}

/// The settings of a queue. They are fixed when it is created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The number of partitions, which is the largest number of workers that have something to do. Default 64.
    pub partitions: u32,
    /// The number of servers that store each job and each result. Default 1.
    pub replicas: usize,
    /// The most bytes that the waiting jobs may take, or `None` for no limit. If the stream is full, a push waits.
    pub max_bytes: Option<u64>,
    /// How long a job belongs to a worker that does not extend its lease. At least 2 s. Default 30 s.
    ///
    /// If a worker is killed, other workers take over its partitions and its jobs after at most one and a half times
    /// this time.
    pub lease: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            partitions: 64,
            replicas: 1,
            max_bytes: None,
            lease: Duration::from_secs(30),
        }
    }
}

/// An open queue. Clones share the connection.
#[derive(Clone, Debug)]
pub struct Queue {
    pub(crate) server: Server,
    /// Shared, because clones of a stream are expensive, and each operation has a clone of the queue.
    pub(crate) parts: Arc<QueueParts>,
}

/// What a queue consists of.
#[derive(Debug)]
pub(crate) struct QueueParts {
    pub(crate) name: QueueName,
    pub(crate) settings: Settings,
    pub(crate) jobs: Stream,
    pub(crate) results: Stream,
    pub(crate) failures: Stream,
    pub(crate) state: Store,
    pub(crate) workers: Store,
}

impl Queue {
    /// Returns the settings.
    pub fn settings(&self) -> &Settings {
        &self.parts.settings
    }

    pub(crate) async fn create(
        server: Server,
        name: QueueName,
        settings: Settings,
    ) -> Result<Self, Error> {
        if settings.partitions == 0 || settings.lease < MIN_LEASE {
            let message = format!(
                "a queue needs at least one partition and a lease of at least {MIN_LEASE:?}"
            );
            return Err(Error::new(ErrorKind::InvalidSettings, message));
        }
        let context = server.context();
        if let Ok(state) = context.get_key_value(name.state()).await
            && let Some(stored) = manifest(&state, &name).await?
        {
            return match stored == settings {
                true => Self::open(server, name).await,
                false => Err(Error::new(
                    ErrorKind::Conflict,
                    format!("the queue {name} exists with other settings: {stored:?}"),
                )),
            };
        }
        for config in [
            jobs_config(&name, &settings),
            results_config(&name, &settings),
            failures_config(&name, &settings),
        ] {
            create_stream(&server, &name, config).await?;
        }
        for config in [
            state_config(&name, &settings),
            workers_config(&name, &settings),
        ] {
            context
                .create_key_value(config)
                .await
                .map_err(Error::server("create a bucket"))?;
        }
        let state = context
            .get_key_value(name.state())
            .await
            .map_err(Error::server("open a bucket"))?;
        let json = serde_json::to_vec(&settings).map_err(Error::server("store the settings"))?;
        // Another process may have created the queue meanwhile. `open` reads the settings that are stored.
        let _ = state.create(MANIFEST, Bytes::from(json)).await;
        let queue = Self::open(server, name).await?;
        match queue.parts.settings == settings {
            true => Ok(queue),
            false => Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "the queue {} exists with other settings: {:?}",
                    queue.parts.name, queue.parts.settings
                ),
            )),
        }
    }

    pub(crate) async fn open(server: Server, name: QueueName) -> Result<Self, Error> {
        let context = server.context();
        if !exists(context, &format!("KV_{}", name.state())).await? {
            return Err(not_found(&name));
        }
        let state = context
            .get_key_value(name.state())
            .await
            .map_err(Error::server("open a bucket"))?;
        let settings = manifest(&state, &name).await?;
        let settings = settings.ok_or_else(|| not_found(&name))?;
        let workers = context
            .get_key_value(name.workers())
            .await
            .map_err(Error::server("open a bucket"))?;
        let jobs = context
            .get_stream(name.jobs())
            .await
            .map_err(Error::server("open the stream of jobs"))?;
        let results = context
            .get_stream(name.results())
            .await
            .map_err(Error::server("open the stream of results"))?;
        let failures = context
            .get_stream(name.failures())
            .await
            .map_err(Error::server("open the stream of failures"))?;
        let parts = QueueParts {
            name,
            settings,
            jobs,
            results,
            failures,
            state,
            workers,
        };
        Ok(Self {
            server,
            parts: Arc::new(parts),
        })
    }

    /// Waits on the runtime of NATS, so that any executor can wait.
    pub async fn sleep(&self, duration: std::time::Duration) {
        // Fails only if the runtime has ended, which a clone of the connection prevents.
        let _ = self.server.spawn(tokio::time::sleep(duration)).await;
    }

    /// Deletes the queue with all jobs, results and bodies.
    ///
    /// # Errors
    ///
    /// [`Server`](ErrorKind::Server). [`Server::delete`](crate::Server::delete) then deletes the rest.
    pub async fn delete(self) -> Result<(), Error> {
        self.server.delete(&self.parts.name).await
    }

    pub(crate) async fn delete_parts(context: &Context, name: &QueueName) -> Result<(), Error> {
        let bucket = |bucket: String| format!("KV_{bucket}");
        let mut found = false;
        for stream in [
            // Without the bucket of the state, nobody can open a queue that lacks one of its other parts.
            bucket(name.state()),
            bucket(name.workers()),
            name.jobs(),
            name.results(),
            name.failures(),
            format!("OBJ_{}", name.bodies()),
        ] {
            if exists(context, &stream).await? {
                let deleted = context.delete_stream(stream).await;
                deleted.map_err(Error::server("delete a stream"))?;
                found = true;
            }
        }
        match found {
            true => Ok(()),
            false => Err(not_found(name)),
        }
    }

    /// Returns the names of the running workers.
    ///
    /// `Store::keys` would create a consumer for each call, and the server would delete it only later.
    pub(crate) async fn worker_names(&self) -> Result<Vec<String>, Error> {
        let prefix = self.parts.workers.prefix.clone();
        let subjects = self
            .parts
            .workers
            .stream
            .info_with_subjects(format!("{prefix}>"));
        let subjects = subjects.await.map_err(Error::server("list the workers"))?;
        let name = |(subject, _): (String, usize)| {
            subject.strip_prefix(&prefix).unwrap_or(&subject).to_owned()
        };
        let names = subjects.map_ok(name).try_collect().await;
        names.map_err(Error::server("list the workers"))
    }

    /// Removes a worker from the list.
    pub(crate) async fn remove_worker(&self, name: &str) -> Result<(), Error> {
        // `Store::delete` would add a message that marks the key as deleted, and the list would still show it.
        let subject = format!("{}{name}", self.parts.workers.prefix);
        let removed = self.parts.workers.stream.purge().filter(subject).await;
        removed
            .map(drop)
            .map_err(Error::server("remove the worker from the list"))
    }

    /// Returns the number of jobs if the queue is sealed.
    pub(crate) async fn sealed(&self) -> Result<Option<u64>, Error> {
        self.number(SEALED).await
    }

    /// Reads a number from the bucket.
    pub(crate) async fn number(&self, key: &str) -> Result<Option<u64>, Error> {
        let value = self.parts.state.get(key).await;
        let Some(value) = value.map_err(Error::server("read a bucket"))? else {
            return Ok(None);
        };
        let invalid = || {
            Error::new(
                ErrorKind::Data,
                format!("the value of {key} is not a number"),
            )
        };
        number(&value).map(Some).ok_or_else(invalid)
    }

    /// Writes a number into the bucket.
    pub(crate) async fn store(&self, key: &str, number: u64) -> Result<(), Error> {
        let stored = self
            .parts
            .state
            .put(key, Bytes::from(number.to_string()))
            .await;
        stored.map(drop).map_err(Error::server("write a bucket"))
    }
}

fn not_found(name: &QueueName) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("there is no queue {name}: create it with `inflight queue create {name}`"),
    )
}

/// Returns whether a stream exists.
async fn exists(context: &Context, stream: &str) -> Result<bool, Error> {
    match context.get_stream(stream).await {
        Ok(_) => Ok(true),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(error)
                if error.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                Ok(false)
            }
            _ => Err(Error::server("describe a stream")(error)),
        },
    }
}

/// Reads a number from the value of a key.
pub(crate) fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

async fn manifest(state: &Store, name: &QueueName) -> Result<Option<Settings>, Error> {
    let value = state.get(MANIFEST).await;
    let Some(json) = value.map_err(Error::server("read the settings"))? else {
        return Ok(None);
    };
    let settings = serde_json::from_slice(&json).map_err(|error| {
        let message = format!("the settings of {name} are those of another version of inflight");
        Error::new(ErrorKind::Data, message).with_source(error)
    });
    settings.map(Some)
}

async fn create_stream(
    server: &Server,
    name: &QueueName,
    config: stream::Config,
) -> Result<(), Error> {
    let stream = config.name.clone();
    let error = match server.context().create_stream(config).await {
        // The server also succeeds if a stream with the same settings exists.
        Ok(created) if created.cached_info().state.messages > 0 => {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("a part of a deleted queue is left: run `inflight queue drop {name}`"),
            ));
        }
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    let is_other_stream = matches!(
        error.kind(),
        CreateStreamErrorKind::JetStream(error)
            if [ErrorCode::STREAM_NAME_EXIST, ErrorCode::STREAM_SUBJECT_OVERLAP].contains(&error.error_code())
    );
    let error = match is_other_stream {
        true => Error::new(
            ErrorKind::Conflict,
            format!("another stream has the name {stream} or its subjects: choose another name than {name}"),
        )
        .with_source(error),
        false => Error::server("create a stream")(error),
    };
    Err(error)
}

/// Each index has its own subject, so a waiting job is never added twice. An acknowledged job is deleted.
fn jobs_config(name: &QueueName, settings: &Settings) -> stream::Config {
    stream::Config {
        name: name.jobs(),
        subjects: vec![name.all_jobs()],
        retention: RetentionPolicy::WorkQueue,
        discard: DiscardPolicy::New,
        discard_new_per_subject: true,
        max_messages_per_subject: 1,
        max_bytes: settings
            .max_bytes
            .map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        num_replicas: settings.replicas,
        ..stream::Config::default()
    }
}

/// The first result of an index wins, because the server refuses a second one.
fn results_config(name: &QueueName, settings: &Settings) -> stream::Config {
    stream::Config {
        name: name.results(),
        subjects: vec![name.all_results()],
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::New,
        discard_new_per_subject: true,
        max_messages_per_subject: 1,
        allow_direct: true,
        num_replicas: settings.replicas,
        ..stream::Config::default()
    }
}

/// The server counts the messages of each subject.
fn failures_config(name: &QueueName, settings: &Settings) -> stream::Config {
    stream::Config {
        name: name.failures(),
        subjects: vec![name.all_failures()],
        retention: RetentionPolicy::Limits,
        num_replicas: settings.replicas,
        ..stream::Config::default()
    }
}

fn state_config(name: &QueueName, settings: &Settings) -> kv::Config {
    kv::Config {
        bucket: name.state(),
        history: 1,
        num_replicas: settings.replicas,
        ..kv::Config::default()
    }
}

fn workers_config(name: &QueueName, settings: &Settings) -> kv::Config {
    kv::Config {
        bucket: name.workers(),
        history: 1,
        max_age: worker_ttl(settings.lease),
        num_replicas: settings.replicas,
        ..kv::Config::default()
    }
}
